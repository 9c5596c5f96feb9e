/**
 * Randomness of the provider's setup: a ChaCha20 stream keyed by
 *   key = SHAKE256("tacet/v1/secrets" ‖ purpose ‖ fresh 32 bytes ‖ SHA-256 of everything the hint depends on).
 * The fresh bytes alone make P and E independent of every earlier hint; the hash makes sure that one P never
 * meets two weight matrices even if the random source repeats itself (docs/security.md, rule 2).
 *
 * Setup runs at the provider and offline; unlike the kernels its time may depend on the values drawn.
 */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { shake256 } from "@noble/hashes/sha3.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import type { RandomSource } from "../ring/random-source.ts";

const DOMAIN = "tacet/v1/secrets/";
const CHUNK_BYTES = 1 << 16;

export class SecretSampler {
  readonly #key: Uint8Array;
  #counter = 0;
  #chunk = new Uint8Array(0);
  #offset = 0;
  #spareGaussian: number | undefined;

  /**
   * @param purpose keeps hints and rotations apart
   * @param context everything that the hint depends on: parameters, adapter, weights, bundle id, group
   */
  constructor(random: RandomSource, purpose: "hint" | "rotation", context: readonly Uint8Array[]) {
    const fresh = new Uint8Array(32);
    random(fresh);
    const digest = sha256.create();
    for (const part of context) {
      // With its length, so that no two lists of parts read alike.
      digest.update(utf8(`${part.length}:`)).update(part);
    }
    this.#key = shake256(concatBytes(utf8(`${DOMAIN}${purpose}:`), fresh, digest.digest()), { dkLen: 32 });
    fresh.fill(0);
  }

  /** Uniform integers in [low, high]; the interval's size must be a power of two at most 2^16. */
  uniformIntegers(count: number, low: number, high: number): Int16Array {
    const size = high - low + 1;
    if (size < 2 || size > 1 << 16 || (size & (size - 1)) !== 0) {
      throw new RangeError(`the interval [${low}, ${high}] must hold a power of two of integers`);
    }
    const out = new Int16Array(count);
    for (let i = 0; i < count; i++) out[i] = low + ((this.#byte() | (this.#byte() << 8)) & (size - 1));
    return out;
  }

  /** round(σ·g), g standard normal by Box–Muller on 53-bit uniforms. */
  roundedGaussian(stddev: number): number {
    return Math.round(stddev * this.standardGaussian());
  }

  /** A standard normal number, Box–Muller. */
  standardGaussian(): number {
    if (this.#spareGaussian !== undefined) {
      const value = this.#spareGaussian;
      this.#spareGaussian = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.#uniform53()));
    const angle = 2 * Math.PI * this.#uniform53();
    this.#spareGaussian = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  wipe(): void {
    this.#key.fill(0);
    this.#chunk.fill(0);
    this.#spareGaussian = undefined;
  }

  /** Uniform in [0, 1), 53 bits. */
  #uniform53(): number {
    let value = this.#byte() & 31;
    for (let i = 0; i < 6; i++) value = value * 256 + this.#byte();
    return value / 2 ** 53;
  }

  #byte(): number {
    if (this.#offset === this.#chunk.length) {
      const nonce = new Uint8Array(12);
      new DataView(nonce.buffer).setUint32(0, this.#counter++, true);
      this.#chunk.fill(0);
      this.#chunk = chacha20(this.#key, nonce, new Uint8Array(CHUNK_BYTES));
      this.#offset = 0;
    }
    return this.#chunk[this.#offset++];
  }
}
