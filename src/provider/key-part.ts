/** One group of a key: W encrypted under the key's S. The last one has the provider's signature over all of them. */
import { keyPartDigest, type SigningTools, signKey } from "../bundle/key-signature.ts";
import type { GroupMark } from "../pll/marks.ts";
import type { EncryptedWeights, LayerSecret, ProviderLayer } from "../pll/provider-layer.ts";

export interface KeyPart extends EncryptedWeights {
  /** SHA-256, which the key's signature is over. */
  readonly digest: Uint8Array;
  /** Of the last part: Ed25519, by the key that the bundle's manifest names. Empty of all others. */
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

/** Which part of which key. */
export interface KeyPlace {
  readonly keyId: Uint8Array;
  readonly group: number;
  /** Of the last part: digests of all before it, in order. */
  readonly before: readonly Uint8Array[];
}

/** How a part is made. */
export interface KeyPartOptions extends SigningTools {
  readonly mark?: GroupMark | undefined;
  /** S of the same seed, where somebody has it. */
  readonly secret?: LayerSecret | undefined;
}

/** @param seed of the group's key; is wiped */
export function makeKeyPart(
  { bundleDigest, keySigningKey, layers }: KeyPartMaker,
  { keyId, group, before }: KeyPlace,
  seed: Uint8Array,
  { mark, secret, sha256, signEd25519 }: KeyPartOptions = {},
): KeyPart {
  const start = performance.now();
  const encrypted = layers[group].encryptWeights(seed, mark, secret);
  seed.fill(0);
  const digest = keyPartDigest(encrypted, sha256);
  const isLast = group === layers.length - 1;
  if (isLast && before.length !== group) throw new RangeError("a key is signed over all of its parts");
  const signature = isLast
    ? signKey(keySigningKey, { bundleDigest, keyId }, [...before, digest], { sha256, signEd25519 })
    : new Uint8Array(0);
  return { ...encrypted, digest, signature, ms: performance.now() - start };
}
