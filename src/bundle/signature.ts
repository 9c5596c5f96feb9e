/**
 * Who made a bundle: Ed25519 (RFC 8032) over a domain string and the bundle's digest. A client that has pinned a
 * provider's public key takes every new version of that provider's adapters, and nobody else's.
 *
 *     message = "tacet/v1/bundle-signature\n" ‖ SHA-256 of the bundle
 *     file    = public key (32 bytes) ‖ signature (64 bytes)
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { concatBytes, equalBytes, utf8 } from "../base/bytes.ts";
import type { RandomSource } from "../ring/random-source.ts";

export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

export interface BundleSignature {
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
}

/** 32 bytes that only the provider has. */
export function createSigningKey(random: RandomSource): Uint8Array {
  const key = new Uint8Array(32);
  random(key);
  return key;
}

/** The public key that goes with it. */
export function publicKeyOf(signingKey: Uint8Array): Uint8Array {
  return ed25519.getPublicKey(signingKey);
}

export function signBundle(signingKey: Uint8Array, digest: Uint8Array): BundleSignature {
  return {
    publicKey: publicKeyOf(signingKey),
    signature: ed25519.sign(messageOf(digest), signingKey),
  };
}

/** Whether the signature is the key's own over this digest, by the strict rules of RFC 8032. */
export function isSignedBy({ publicKey, signature }: BundleSignature, digest: Uint8Array): boolean {
  return holds(publicKey, signature, messageOf(digest));
}

/** Whether it is a signature of a message, by the strict rules of RFC 8032; false for anything else. */
export function holds(publicKey: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false; // a public key that is no point of the curve
  }
}

/** Whether it is a signature over this digest by this key. */
export function isSignedByKey(
  signature: BundleSignature | undefined,
  digest: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  return (
    signature !== undefined && equalBytes(signature.publicKey, publicKey) && isSignedBy(signature, digest)
  );
}

export function encodeSignature({ publicKey, signature }: BundleSignature): Uint8Array {
  return concatBytes(publicKey, signature);
}

/** undefined if the bytes have another length */
export function decodeSignature(bytes: Uint8Array): BundleSignature | undefined {
  if (bytes.length !== PUBLIC_KEY_BYTES + SIGNATURE_BYTES) return undefined;
  return { publicKey: bytes.slice(0, PUBLIC_KEY_BYTES), signature: bytes.slice(PUBLIC_KEY_BYTES) };
}

function messageOf(digest: Uint8Array): Uint8Array {
  return concatBytes(utf8("tacet/v1/bundle-signature\n"), digest);
}
