/** What the keys of one bundle look like: their lengths, and who must have signed them. */
import { fromHex, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { hashedOfKeyPart, isKeySignedBy, portableSha256 } from "../bundle/key-signature.ts";
import { groupRows } from "../bundle/manifest.ts";
import { type EncryptedWeights, encryptedWeightBytes } from "../pll/encrypted-weights.ts";

export interface KeyFormat {
  /** Bytes of B and of H, by group. */
  readonly lengths: readonly { readonly weights: number; readonly hint: number }[];
  /**
   * Checks the lengths of a part before it copies anything. Nothing of a key may be used before {@link check} has
   * returned.
   *
   * @returns the part, in separate memory
   * @throws TacetError bad_key
   */
  copy(keyId: Uint8Array, group: number, part: EncryptedWeights): EncryptedWeights;
  /** Of a part that does not change any more. */
  digest(part: EncryptedWeights): Uint8Array | Promise<Uint8Array>;
  /**
   * @param digests of all parts, in the order of the groups
   * @throws TacetError bad_key if the signature is not the bundle's signer's over this bundle, this key and these parts
   */
  check(keyId: Uint8Array, digests: readonly Uint8Array[], signature: Uint8Array): void;
}

/** @param sha256 a faster one than the portable one: keys have megabytes */
export function keyFormatOf({ manifest, digest }: Bundle, sha256: Platform["sha256"]): KeyFormat {
  const signer = fromHex(manifest.keySigner);
  const lengths = manifest.groups.map((group) =>
    encryptedWeightBytes(manifest.parameters, groupRows(group), group.inFeatures),
  );
  const hash = sha256 ?? portableSha256;
  return {
    lengths,
    copy(keyId, group, { weights, hint }) {
      const wanted = lengths[group];
      if (weights.length !== wanted.weights || hint.length !== wanted.hint) {
        throw refusal(keyId, `group ${group} has another length than the bundle's layer`);
      }
      return { weights: weights.slice(), hint: hint.slice() };
    },
    digest: (part) => hash(hashedOfKeyPart(part)),
    check(keyId, digests, signature) {
      const isWhole = digests.length === lengths.length;
      if (!isWhole || !isKeySignedBy(signer, { bundleDigest: digest, keyId }, digests, signature)) {
        throw refusal(keyId, "it is not signed by the bundle's signer");
      }
    },
  };
}

function refusal(keyId: Uint8Array, why: string): TacetError {
  return new TacetError("bad_key", `the provider's key ${toHex(keyId).slice(-8)} cannot be used: ${why}`, {
    hint: "the provider is broken, or somebody changes what it sends: tell its operator",
  });
}
