/**
 * One-time RLWE masks: for a fresh ternary secret s and fresh error e,
 *   mask = C·s + e mod 2^32,   C·s = the first coefficients of a_1·s, …, a_κ·s, a_pad·s (the layout's blocks).
 * A query adds its scaled activation to a mask (v = mask + S·[x | 0]), so v is an RLWE encryption under a
 * secret that is used once. Everything here is independent of x: masks may be made ahead of time (offline).
 *
 * All randomness is the ChaCha20 stream of a 256-bit key from the platform's CSPRNG; each mask takes the next 64-bit
 * nonce. {@link MaskSource.refresh} replaces the key every few batches, so that a process that is cloned or restored
 * from a snapshot shares few masks with its twin. The key lies in kernel memory only.
 */
import {
  type Address,
  ERROR_RANDOM_BYTES,
  type Kernels,
  NTT_POLY_BYTES,
  type PublicElement,
  RANDOM_CHUNK_BYTES,
  TERNARY_RANDOM_BYTES,
} from "../ring/kernels.ts";
import type { RandomSource } from "../ring/random-source.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { Layout } from "./parameters.ts";

const KEY_BYTES = 32;
/** About a token of a small model. */
const BATCHES_PER_KEY = 32;
/** The kernels sample errors 16 at a time. */
const ERROR_LANES = 16;

/** Words that a vector takes in kernel memory: n + n_pad rounded up to whole vector registers. */
export function wordStride(layout: Layout): number {
  return roundUp(layout.words, ERROR_LANES);
}

export class MaskSource {
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #random: RandomSource;
  readonly #key: Address;
  #nonce = 0n;
  #batches = 1;

  constructor(kernels: Kernels, pool: BufferPool, random: RandomSource) {
    this.#kernels = kernels;
    this.#pool = pool;
    this.#random = random;
    this.#key = kernels.allocate(KEY_BYTES);
    this.#rekey();
  }

  /** Call before every batch of masks: draws a fresh key once in a while (asking the system takes 15 µs). */
  refresh(): void {
    if (this.#batches++ % BATCHES_PER_KEY === 0) this.#rekey();
  }

  /**
   * Writes one mask and its secret.
   *
   * @param words out, u32[wordStride(layout)]; the words past layout.words are noise of no use
   * @param secret out, i16[N] in {-1, 0, 1}; the caller wipes it
   */
  fill(layout: Layout, elements: readonly PublicElement[], words: Address, secret: Address): void {
    const kernels = this.#kernels;
    const stride = wordStride(layout);
    const randomBytes = roundUp(TERNARY_RANDOM_BYTES + ERROR_RANDOM_BYTES * stride, RANDOM_CHUNK_BYTES);
    const errorOffset = randomBytes - ERROR_RANDOM_BYTES * stride;
    const random = this.#pool.acquire(randomBytes);
    const transformed = this.#pool.acquire(NTT_POLY_BYTES);
    try {
      do {
        this.#expand(random, randomBytes);
      } while (!kernels.sampleTernary(random, errorOffset, secret));
      const secretNtt = kernels.secretToNtt(secret, transformed);
      for (const [i, block] of layout.blocks.entries()) {
        kernels.multiplyPublic(elements[i], secretNtt, at(words, 4 * block.offset), block.length);
      }
      kernels.addErrors(words, stride, at(random, errorOffset));
    } finally {
      this.#pool.release(transformed, NTT_POLY_BYTES);
      this.#pool.release(random, randomBytes);
      kernels.wipeScratch();
    }
  }

  /** Forgets the key; the source can make no more masks. */
  wipe(): void {
    this.#kernels.wipe(this.#key, KEY_BYTES);
    this.#nonce = -1n;
  }

  #rekey(): void {
    if (this.#nonce < 0n) throw new RangeError("this mask source was wiped");
    const key = new Uint8Array(KEY_BYTES);
    this.#random(key);
    this.#kernels.bytes(this.#key, KEY_BYTES).set(key);
    key.fill(0);
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

/** An address some bytes on. */
export function at(address: Address, bytes: number): Address {
  return (address + bytes) as Address;
}
