/**
 * The noise of a result, predicted (docs/parameters.md §Precision):
 *   u = W·c·x + W·ε + (E + E_round)·x̂ − S·(e + e_up) + (E_H + H_round)·s + rounding of the reply,
 * ε the rounding of x̂. All terms are independent and centred, so their variances add; the means of E and of rounding B
 * cancel, as do those of E_H and of rounding H. Integer units of Z_q. For tests, tools and documents; nothing here
 * reaches the wire.
 */
import { RING_DEGREE } from "../ring/kernels.ts";
import { uniformStddev } from "../rlwe/parameter-set.ts";
import { errorStddev, HEADROOM, type Parameters } from "../rlwe/parameters.ts";

/** Variance of a rounding error that is uniform over an interval of this width. */
const roundingVariance = (width: number) => width ** 2 / 12;

/** ‖c·x‖₂, the same for every x: 2^31/(1.05·R). */
export function scaledNorm(p: Parameters): number {
  return 2 ** 31 / (HEADROOM * p.rowNorm);
}

/** Standard deviations of the terms of the noise, in the order of the formula. */
export interface NoiseParts {
  /** W·ε */
  readonly activation: number;
  /** (E + E_round)·x̂ */
  readonly weightError: number;
  /** S·(e + e_up) */
  readonly queryError: number;
  /** (E_H + H_round)·s */
  readonly hintError: number;
  readonly reply: number;
}

/** @param rowNorm Euclidean norm of the row of W */
export function predictedNoiseParts(p: Parameters, rowNorm: number): NoiseParts {
  const weightError = uniformStddev(p.weightErrorBits) ** 2 + roundingVariance(2 ** (32 - p.weightBits));
  const queryError = errorStddev(p) ** 2 + roundingVariance(2 ** (32 - p.uploadBits));
  const hintError = uniformStddev(p.hintErrorBits) ** 2 + roundingVariance(2 ** (32 - p.hintBits));
  return {
    activation: rowNorm * Math.sqrt(roundingVariance(1)),
    weightError: scaledNorm(p) * Math.sqrt(weightError),
    queryError: uniformStddev(p.secretBits) * Math.sqrt(p.keyLength * queryError),
    hintError: Math.sqrt(hintError * ((2 * RING_DEGREE) / 3)),
    reply: Math.sqrt(roundingVariance(2 ** (32 - p.replyBits))),
  };
}

/**
 * Standard deviation of one result word u around W·c·x.
 *
 * @param rowNorm Euclidean norm of the row of W
 */
export function predictedNoiseStddev(p: Parameters, rowNorm: number): number {
  return Math.hypot(...Object.values(predictedNoiseParts(p, rowNorm)));
}

/** Standard deviation of u itself for an x without a direction: ‖W_r‖·‖c·x‖/√n, rows as long as they may be. */
export function typicalResult(p: Parameters, n: number): number {
  return (p.rowNorm * scaledNorm(p)) / Math.sqrt(n);
}

/** Error of a result relative to its size, for x and W without a direction in common. */
export function predictedRelativeError(p: Parameters, n: number): number {
  return predictedNoiseStddev(p, p.rowNorm) / typicalResult(p, n);
}
