/**
 * Standard normal numbers for the secret rotation: a ChaCha20 stream keyed by
 *   key = SHAKE256("tacet/v2/rotation" ‖ fresh 32 bytes).
 * Runs at the provider and offline; unlike the kernels its time may depend on the values drawn.
 */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { shake256 } from "@noble/hashes/sha3.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import type { RandomSource } from "../ring/random-source.ts";

const DOMAIN = utf8("tacet/v2/rotation");
const CHUNK_BYTES = 1 << 16;

export class RotationSampler {
  readonly #key: Uint8Array;
  #counter = 0;
  #chunk = new Uint8Array(0);
  #offset = 0;
  #spareGaussian: number | undefined;

  constructor(random: RandomSource) {
    const fresh = new Uint8Array(32);
    random(fresh);
    this.#key = shake256(concatBytes(DOMAIN, fresh), { dkLen: 32 });
    fresh.fill(0);
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
