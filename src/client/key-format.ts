/** What the keys of one bundle look like: their lengths, and who must have signed them. */
import { fromHex, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { isKeyPartSignedBy } from "../bundle/key-signature.ts";
import { groupRows } from "../bundle/manifest.ts";
import { encryptedWeightBytes } from "../pll/provider-layer.ts";
import type { KeyPart } from "./keys.ts";

export interface KeyFormat {
  /** Bytes of B and of H, by group. */
  readonly lengths: readonly { readonly weights: number; readonly hint: number }[];
  /**
   * Checks lengths before it copies anything, then the signature.
   *
   * @returns the part, in separate memory
   * @throws TacetError bad_key
   */
  read(keyId: Uint8Array, group: number, part: KeyPart): KeyPart;
}

export function keyFormatOf({ manifest, digest }: Bundle): KeyFormat {
  const signer = fromHex(manifest.keySigner);
  const lengths = manifest.groups.map((group) =>
    encryptedWeightBytes(manifest.parameters, groupRows(group), group.inFeatures),
  );
  return {
    lengths,
    read(keyId, group, { weights, hint, signature }) {
      const wanted = lengths[group];
      if (weights.length !== wanted.weights || hint.length !== wanted.hint) {
        throw refusal(keyId, `group ${group} has another length than the bundle's layer`);
      }
      const part = { weights: weights.slice(), hint: hint.slice(), signature: signature.slice() };
      if (!isKeyPartSignedBy(signer, { bundleDigest: digest, keyId, group }, part, part.signature)) {
        throw refusal(keyId, `group ${group} is not signed by the bundle's signer`);
      }
      return part;
    },
  };
}

function refusal(keyId: Uint8Array, why: string): TacetError {
  return new TacetError("bad_key", `the provider's key ${toHex(keyId).slice(-8)} cannot be used: ${why}`, {
    hint: "the provider is broken, or somebody changes what it sends: tell its operator",
  });
}
