/**
 * The orthogonal split of a LoRA module (docs/paper.md §3):
 *   scale·B·A = B′·A′,   B′ = Q·Rᵀ (m, k),   A′ = R·T·(scale·A) (k, n),
 * with B = Q·T the thin QR of B, k = min(m, r), and R a fresh Haar-random orthogonal matrix. Q·Rᵀ is a uniformly
 * random orthonormal basis of B's column space whatever basis Q was, so B′ says that space and nothing else; the
 * singular values, and everything about A, are in A′, which stays private. (The SVD of BA would give another Q
 * and, after the rotation, the same distribution.)
 */
import type { RandomSource } from "../ring/random-source.ts";
import { haarOrthogonal, multiply, thinQr, transpose } from "./orthogonal.ts";
import { RotationSampler } from "./rotation-sampler.ts";

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
  const b = Float64Array.from(lora.b, (value) => value + noise * sampler.standardGaussian());
  const { q, t, k } = thinQr(b, outFeatures, rank);
  const rotation = haarOrthogonal(k, () => sampler.standardGaussian());
  sampler.wipe();
  const core = multiply(rotation, t, k, k, rank);
  for (let i = 0; i < core.length; i++) core[i] *= largest === 0 ? 0 : lora.scale;
  return {
    rows: k,
    private: multiply(core, lora.a, k, rank, inFeatures),
    publicBasis: multiply(q, transpose(rotation, k, k), outFeatures, k, k),
  };
}

/** scale·B·A, (out, in): the matrix of the sealed mode. */
export function mergeLora(lora: LoraPair): Float64Array {
  const merged = multiply(lora.b, lora.a, lora.outFeatures, lora.rank, lora.inFeatures);
  for (let i = 0; i < merged.length; i++) merged[i] *= lora.scale;
  return merged;
}
