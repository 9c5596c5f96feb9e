/** One group of a key: W encrypted under the key's S, and the provider's signature over it. */
import { signKeyPart } from "../bundle/key-signature.ts";
import type { GroupMark } from "../pll/marks.ts";
import type { EncryptedWeights, ProviderLayer } from "../pll/provider-layer.ts";
import type { Sha256 } from "./meter.ts";

export interface KeyPart extends EncryptedWeights {
  /** Ed25519, by the key that the bundle's manifest names. */
  readonly signature: Uint8Array;
  /** Milliseconds of computing. */
  readonly ms: number;
}

/** What parts are made of, besides the key. */
export interface KeyPartMaker {
  readonly bundleDigest: Uint8Array;
  readonly keySigningKey: Uint8Array;
  readonly layers: readonly ProviderLayer[];
}

/** @param seed of the group's key; is wiped */
export function makeKeyPart(
  { bundleDigest, keySigningKey, layers }: KeyPartMaker,
  group: number,
  keyId: Uint8Array,
  seed: Uint8Array,
  { mark, sha256 }: { readonly mark?: GroupMark | undefined; readonly sha256?: Sha256 | undefined } = {},
): KeyPart {
  const start = performance.now();
  const encrypted = layers[group].encryptWeights(seed, mark);
  seed.fill(0);
  const signature = signKeyPart(keySigningKey, { bundleDigest, keyId, group }, encrypted, sha256);
  return { ...encrypted, signature, ms: performance.now() - start };
}
