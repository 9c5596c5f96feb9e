/**
 * One-time RLWE masks: for a fresh ternary secret s and fresh error e,
 *   mask = (a_0·s)[0..k) + e mod 2^32.
 * A query adds what it hides to a mask (v = mask + y), so v is an RLWE encryption under a secret that is used once.
 * Everything here is independent of activations, groups and keys: masks may be made ahead of time, and any query may
 * take any of them. For a query that cannot wait s and e are drawn alone: with y there is one inverse transform for the
 * sum a_0·s + y, instead of two.
 *
 * All randomness is the ChaCha20 stream of a 256-bit key from the platform's CSPRNG; each mask takes the next 64-bit
 * nonce. The key is replaced every few masks, so that a process that is cloned or restored from a snapshot shares few
 * masks with its twin. The key is in kernel memory only.
 */
import { assertInteger } from "../base/assert.ts";
import {
  type Address,
  at,
  ERROR_RANDOM_BYTES,
  type Kernels,
  type PublicElement,
  RANDOM_CHUNK_BYTES,
  RING_DEGREE,
  TERNARY_RANDOM_BYTES,
} from "../ring/kernels.ts";
import type { RandomSource } from "../ring/random-source.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { assertKernelParameters, type Parameters } from "./parameters.ts";

const KEY_BYTES = 32;
/** About a token of a small model. A query of more vectors has a key to itself. */
const MASKS_PER_KEY = 32;
/** Of s of one vector. */
export const SECRET_BYTES = 2 * RING_DEGREE;

/** Masks of one query, in kernel memory. They serve once: a mask over two activations would show their difference. */
export interface OneTimeMasks {
  readonly vectors: number;
  /** Whether words are masks. Else they are e alone, and whoever makes the query adds a_0·s: without it nothing is hidden. */
  readonly hasProduct: boolean;
  /** (vectors, k) u32: mask, or e. */
  readonly words: Address;
  /** (vectors, N) i16: s. */
  readonly secrets: Address;
  state: "fresh" | "used" | "spent";
}

export class MaskSource {
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #random: RandomSource;
  readonly #element: PublicElement;
  readonly #keyLength: number;
  readonly #key: Address;
  #nonce = 0n;
  /** Masks under this key. */
  #drawn = 0;

  /** @param element a_0 */
  constructor(
    kernels: Kernels,
    pool: BufferPool,
    parameters: Parameters,
    element: PublicElement,
    random: RandomSource,
  ) {
    this.#kernels = kernels;
    this.#pool = pool;
    this.#random = random;
    this.#element = element;
    this.#keyLength = assertKernelParameters(parameters).keyLength;
    this.#key = kernels.allocate(KEY_BYTES);
    this.#rekey();
  }

  /** Kernel memory that the mask of one vector takes, in bytes. */
  get maskBytes(): number {
    return 4 * this.#keyLength + SECRET_BYTES;
  }

  /** Fresh masks for one query of `vectors` vectors. */
  make(vectors: number): OneTimeMasks {
    return this.#draw(vectors, true);
  }

  /** Fresh s and e for one query of `vectors` vectors, without a_0·s. */
  draw(vectors: number): OneTimeMasks {
    return this.#draw(vectors, false);
  }

  #draw(vectors: number, hasProduct: boolean): OneTimeMasks {
    assertInteger(vectors, "vectors", 1, 1 << 20);
    // Asking the system takes 15 µs.
    if (this.#drawn > 0 && this.#drawn + vectors > MASKS_PER_KEY) this.#rekey();
    this.#drawn += vectors;
    const masks: OneTimeMasks = {
      vectors,
      hasProduct,
      words: this.#pool.acquire(4 * vectors * this.#keyLength),
      secrets: this.#pool.acquire(vectors * SECRET_BYTES),
      state: "fresh",
    };
    try {
      for (let t = 0; t < vectors; t++) {
        this.#fill(at(masks.words, 4 * t * this.#keyLength), at(masks.secrets, t * SECRET_BYTES), hasProduct);
      }
    } catch (error) {
      this.discard(masks);
      throw error;
    } finally {
      this.#kernels.wipeScratch();
    }
    return masks;
  }

  /** Wipes masks; a second call changes nothing. */
  discard(masks: OneTimeMasks): void {
    if (masks.state === "spent") return;
    masks.state = "spent";
    this.#pool.release(masks.words, 4 * masks.vectors * this.#keyLength);
    this.#pool.release(masks.secrets, masks.vectors * SECRET_BYTES);
  }

  /**
   * Masks of one vector each, which are spent by that, as the masks of one query of as many vectors.
   *
   * @throws RangeError if one is not fresh, or is of several vectors, or without a_0·s; or if there is none
   */
  join(singles: readonly OneTimeMasks[]): OneTimeMasks {
    const vectors = assertInteger(singles.length, "masks", 1, 1 << 20);
    const isGood = (masks: OneTimeMasks) =>
      masks.state === "fresh" && masks.vectors === 1 && masks.hasProduct;
    if (!singles.every(isGood) || new Set(singles).size < vectors)
      throw new RangeError("a mask serves one vector");
    const wordBytes = 4 * this.#keyLength;
    const words = this.#pool.acquire(vectors * wordBytes);
    const secrets = this.#pool.acquire(vectors * SECRET_BYTES);
    const to = {
      words: this.#kernels.bytes(words, vectors * wordBytes),
      secrets: this.#kernels.bytes(secrets, vectors * SECRET_BYTES),
    };
    for (const [t, single] of singles.entries()) {
      to.words.set(this.#kernels.bytes(single.words, wordBytes), t * wordBytes);
      to.secrets.set(this.#kernels.bytes(single.secrets, SECRET_BYTES), t * SECRET_BYTES);
      this.discard(single);
    }
    return { vectors, hasProduct: true, words, secrets, state: "fresh" };
  }

  /** Takes s out of masks that were used, for whoever recovers the result, and wipes the rest: to be released as SECRET_BYTES each. */
  takeSecrets(masks: OneTimeMasks): Address {
    if (masks.state !== "used") throw new RangeError("these masks were not used, or are gone");
    masks.state = "spent";
    this.#pool.release(masks.words, 4 * masks.vectors * this.#keyLength);
    return masks.secrets;
  }

  /** Forgets the key; the source can make no more masks. */
  wipe(): void {
    this.#kernels.wipe(this.#key, KEY_BYTES);
    this.#nonce = -1n;
  }

  #fill(words: Address, secret: Address, hasProduct: boolean): void {
    const kernels = this.#kernels;
    const errorBytes = ERROR_RANDOM_BYTES * this.#keyLength;
    const randomBytes = roundUp(TERNARY_RANDOM_BYTES + errorBytes, RANDOM_CHUNK_BYTES);
    const errorOffset = randomBytes - errorBytes;
    const random = this.#pool.acquire(randomBytes);
    try {
      do {
        this.#expand(random, randomBytes);
      } while (!kernels.sampleTernary(random, errorOffset, secret));
      kernels.addErrors(words, this.#keyLength, at(random, errorOffset));
      if (hasProduct) {
        const product = { element: this.#element, small: secret, count: RING_DEGREE };
        kernels.addProducts([product], words, this.#keyLength);
      }
    } finally {
      this.#pool.release(random, randomBytes);
    }
  }

  #rekey(): void {
    if (this.#nonce < 0n) throw new RangeError("this mask source was wiped");
    const key = new Uint8Array(KEY_BYTES);
    this.#random(key);
    this.#kernels.bytes(this.#key, KEY_BYTES).set(key);
    key.fill(0);
    this.#drawn = 0;
  }

  #expand(out: Address, bytes: number): void {
    if (this.#nonce < 0n) throw new RangeError("this mask source was wiped");
    const nonce = this.#nonce++;
    this.#kernels.expandRandom(this.#key, Number(nonce & 0xffffffffn), Number(nonce >> 32n), out, bytes);
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
