/**
 * The orthogonal split of a LoRA module (docs/paper.md §3):
 *   scale·B·A = B′·A′,   B′ = Q·Rᵀ (m, k),   A′ = R·T·(scale·A) (k, n),
 * with B = Q·T the thin QR of B, k = min(m, r), and R a fresh Haar-random orthogonal matrix. Q·Rᵀ is a uniformly
 * random orthonormal basis of B's column space whatever basis Q was, so B′ says that space and nothing else; the
 * singular values, and everything about A, are in A′, which stays private. (The SVD of BA would give another Q
 * and, after the rotation, the same distribution.)
 */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { shake256 } from "@noble/hashes/sha3.js";
import { utf8 } from "../base/bytes.ts";
import type { RandomSource } from "../ring/random-source.ts";
import { haarOrthogonal, multiply, thinQr, transpose } from "./orthogonal.ts";

const ROTATION_DOMAIN = utf8("tacet/v2/rotation");
const CHUNK_BYTES = 1 << 16;

export interface LoraPair {
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** A, (rank, in). */
  readonly a: Float32Array;
  /** B, (out, rank). */
  readonly b: Float32Array;
  /** alpha/r, or alpha/√r. */
  readonly scale: number;
}

export interface SplitLora {
  /** k = min(rank, outFeatures): rows of A′, columns of B′. */
  readonly rows: number;
  /** A′, (rows, in). Private. */
  readonly private: Float64Array;
  /** B′, (out, rows), orthonormal columns. Public. */
  readonly publicBasis: Float64Array;
}

/**
 * Relative size of the noise that B gets before its QR. Where B has not full rank, Householder's completion of the
 * basis would depend on more than B's column space; with the noise the completion is a random direction.
 */
const COMPLETION_NOISE = 2 ** -40;

/** Splits with a fresh rotation. The product is exact to 2^-40 of B's largest entry. */
export function splitLora(lora: LoraPair, random: RandomSource): SplitLora {
  const { rank, inFeatures, outFeatures } = lora;
  const sampler = new RotationSampler(random);
  const largest = lora.b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const noise = COMPLETION_NOISE * (largest === 0 ? 1 : largest);
  const gaussian = () => sampler.standardGaussian();
  try {
    const b = Float64Array.from(lora.b, (value) => value + noise * gaussian());
    const { q, t, k } = thinQr(b, outFeatures, rank);
    const rotation = haarOrthogonal(k, gaussian);
    const core = multiply(rotation, t, k, k, rank);
    for (let i = 0; i < core.length; i++) core[i] *= largest === 0 ? 0 : lora.scale;
    return {
      rows: k,
      private: multiply(core, lora.a, k, rank, inFeatures),
      publicBasis: multiply(q, transpose(rotation, k, k), outFeatures, k, k),
    };
  } finally {
    sampler.wipe();
  }
}

/** scale·B·A, (out, in): what the adapter adds to a module's weights. */
export function mergeLora(lora: LoraPair): Float64Array {
  const merged = multiply(lora.b, lora.a, lora.outFeatures, lora.rank, lora.inFeatures);
  for (let i = 0; i < merged.length; i++) merged[i] *= lora.scale;
  return merged;
}

/**
 * Standard normal numbers for the secret rotation: a ChaCha20 stream keyed by
 *   key = SHAKE256("tacet/v2/rotation" ‖ fresh 32 bytes).
 * Runs at the provider and offline; unlike the kernels its time may depend on the values drawn.
 */
export class RotationSampler {
  readonly #key: Uint8Array;
  #counter = 0;
  #chunk = new Uint8Array(0);
  #offset = 0;
  #spareGaussian: number | undefined;

  constructor(random: RandomSource) {
    const fresh = new Uint8Array(32);
    random(fresh);
    // Absorbed one by one: joined, they would be a copy of the secret.
    this.#key = shake256.create({ dkLen: 32 }).update(ROTATION_DOMAIN).update(fresh).digest();
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
