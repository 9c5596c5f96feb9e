/** One group of a key: W encrypted under the key's S. The last one has the provider's signature over all of them. */
import { keyPartDigest, type SigningTools, signKey } from "../bundle/key-signature.ts";
import type { GroupMark } from "../pll/marks.ts";
import type { EncryptedWeights } from "../pll/encrypted-weights.ts";
import type { ProviderLayer } from "../pll/provider-layer.ts";
import type { LayerSecret } from "../pll/secret-stream.ts";

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
}

/** A part that is being made, in steps of some ten microseconds: a row each, then the digest, then the signature. */
export interface KeyPartMaking {
  /** Takes a step. False: it was the last. @param secret S of the part's seed, where the caller has it */
  next(secret?: LayerSecret): boolean;
  /** The part, after the last step. */
  readonly part: KeyPart;
  /** To be called at last, also where something has failed. */
  end(): void;
}

/**
 * @param seed of the group's key; is wiped at the end, and where this throws
 * @throws RangeError if parts are missing before the last one, or kernel memory runs out
 */
export function beginKeyPart(
  maker: KeyPartMaker,
  place: KeyPlace,
  seed: Uint8Array,
  options: KeyPartOptions = {},
): KeyPartMaking {
  try {
    return begin(maker, place, seed, options);
  } catch (error) {
    seed.fill(0);
    throw error;
  }
}

function begin(
  { bundleDigest, keySigningKey, layers }: KeyPartMaker,
  { keyId, group, before }: KeyPlace,
  seed: Uint8Array,
  { mark, sha256, signEd25519 }: KeyPartOptions,
): KeyPartMaking {
  const isLast = group === layers.length - 1;
  if (isLast && before.length !== group) throw new RangeError("a key is signed over all of its parts");
  let ms = 0;
  let hasRows = true;
  let digest: Uint8Array | undefined;
  let signature: Uint8Array = new Uint8Array(0);
  const encryption = layers[group].beginEncryption(seed, mark);
  const step = (secret: LayerSecret | undefined): boolean => {
    if (hasRows) {
      hasRows = encryption.next(secret);
      return true;
    }
    if (digest === undefined) {
      digest = keyPartDigest(encryption.result, sha256);
      return isLast;
    }
    signature = signKey(keySigningKey, { bundleDigest, keyId }, [...before, digest], { sha256, signEd25519 });
    return false;
  };
  return {
    next(secret) {
      const start = performance.now();
      const hasMore = step(secret);
      ms += performance.now() - start;
      return hasMore;
    },
    get part() {
      if (digest === undefined) throw new TypeError("the part is not complete");
      return { ...encryption.result, digest, signature, ms };
    },
    end() {
      encryption.end();
      seed.fill(0);
    },
  };
}

/** A part, made at once. @param seed of the group's key; is wiped */
export function makeKeyPart(
  maker: KeyPartMaker,
  place: KeyPlace,
  seed: Uint8Array,
  options: KeyPartOptions = {},
): KeyPart {
  const making = beginKeyPart(maker, place, seed, options);
  try {
    while (making.next()) {}
    return making.part;
  } finally {
    making.end();
  }
}
