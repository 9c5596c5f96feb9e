/**
 * Who made a key: one Ed25519 signature over all parts of it, by the key-signing key of the bundle. Its public half
 * stands in the bundle's manifest, so whoever trusts a bundle, by its digest or by its signature, knows whose keys belong
 * to it. The signature does not prevent a provider from tailoring a key for one account. It is the evidence of it.
 *
 *     digest of a part = SHA-256(B ‖ H)
 *     message = "tacet/v2/key" ‖ SHA-256 of the bundle ‖ key id (16) ‖ SHA-256(digests of all parts, in the order of the groups)
 *
 * The bundle says how many groups there are and how long B and H are of each, so no two keys have the same message. One
 * signature for all parts: to check one costs as much as the hash of a megabyte, and a key has up to some hundred parts.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import type { Sha256, SignEd25519 } from "../base/platform.ts";
import type { EncryptedWeights } from "../pll/encrypted-weights.ts";
import { holds } from "./signature.ts";

/** Which key: what its signature is over, besides the key itself. */
export interface KeyIdentity {
  readonly bundleDigest: Uint8Array;
  readonly keyId: Uint8Array;
}

export const portableSha256: Sha256 = (parts) => {
  const hash = nobleSha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export const portableSignEd25519: SignEd25519 = (message, signingKey) => ed25519.sign(message, signingKey);

export interface SigningTools {
  readonly sha256?: Sha256 | undefined;
  readonly signEd25519?: SignEd25519 | undefined;
}

/** What {@link keyPartDigest} hashes. */
export function hashedOfKeyPart({ weights, hint }: EncryptedWeights): readonly Uint8Array[] {
  return [weights, hint];
}

/** @param hash a faster SHA-256 than the portable one: parts have some hundred kilobytes, and up to megabytes */
export function keyPartDigest(part: EncryptedWeights, hash: Sha256 = portableSha256): Uint8Array {
  return hash(hashedOfKeyPart(part));
}

/**
 * @param digests of all parts, in the order of the groups
 * @param tools faster ones than the portable; the bytes are the same
 */
export function signKey(
  signingKey: Uint8Array,
  identity: KeyIdentity,
  digests: readonly Uint8Array[],
  { sha256, signEd25519 = portableSignEd25519 }: SigningTools = {},
): Uint8Array {
  return signEd25519(messageOf(identity, digests, sha256), signingKey);
}

/**
 * @param keySigner public key of the bundle's manifest
 * @param digests of all parts, in the order of the groups
 */
export function isKeySignedBy(
  keySigner: Uint8Array,
  identity: KeyIdentity,
  digests: readonly Uint8Array[],
  signature: Uint8Array,
): boolean {
  return holds(keySigner, signature, messageOf(identity, digests));
}

function messageOf(
  { bundleDigest, keyId }: KeyIdentity,
  digests: readonly Uint8Array[],
  sha256: Sha256 = portableSha256,
): Uint8Array {
  return concatBytes(utf8("tacet/v2/key"), bundleDigest, keyId, sha256(digests));
}
