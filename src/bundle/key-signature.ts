/**
 * Who made a key: Ed25519 over each part of it, by the key-signing key of the bundle. Its public half stands in the
 * bundle's manifest, so whoever trusts a bundle, by its digest or by its signature, knows whose keys belong to it. The
 * signature does not prevent a provider from tailoring a key for one account. It is the evidence of it.
 *
 *     message = "tacet/v2/key-part" ‖ SHA-256 of the bundle ‖ key id (16) ‖ LE32(group) ‖ SHA-256(B ‖ H)
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import type { EncryptedWeights } from "../pll/provider-layer.ts";
import { holds } from "./signature.ts";

/** What a part of a key belongs to. */
export interface KeyPartIdentity {
  readonly bundleDigest: Uint8Array;
  readonly keyId: Uint8Array;
  readonly group: number;
}

/** SHA-256 of byte strings one after another. */
export type Sha256 = (parts: readonly Uint8Array[]) => Uint8Array;

export const portableSha256: Sha256 = (parts) => {
  const hash = sha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** @param hash a faster SHA-256 than the portable one: parts have some hundred kilobytes, and up to megabytes */
export function signKeyPart(
  signingKey: Uint8Array,
  identity: KeyPartIdentity,
  part: EncryptedWeights,
  hash: Sha256 = portableSha256,
): Uint8Array {
  return ed25519.sign(messageOf(identity, part, hash), signingKey);
}

/** @param keySigner public key of the bundle's manifest */
export function isKeyPartSignedBy(
  keySigner: Uint8Array,
  identity: KeyPartIdentity,
  part: EncryptedWeights,
  signature: Uint8Array,
): boolean {
  return holds(keySigner, signature, messageOf(identity, part, portableSha256));
}

function messageOf(
  { bundleDigest, keyId, group }: KeyPartIdentity,
  { weights, hint }: EncryptedWeights,
  hash: Sha256,
): Uint8Array {
  const le32 = Uint8Array.of(group, group >>> 8, group >>> 16, group >>> 24);
  return concatBytes(utf8("tacet/v2/key-part"), bundleDigest, keyId, le32, hash([weights, hint]));
}
