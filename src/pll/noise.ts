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

/**
 * Standard deviation of one result word u around W·c·x.
 *
 * @param rowNorm Euclidean norm of the row of W
 */
export function predictedNoiseStddev(p: Parameters, rowNorm: number): number {
  const activationNorm = 2 ** 31 / (HEADROOM * p.rowNorm);
  const activation = rowNorm ** 2 * roundingVariance(1);
  const weightError = uniformStddev(p.weightErrorBits) ** 2 + roundingVariance(2 ** (32 - p.weightBits));
  const queryError = errorStddev(p) ** 2 + roundingVariance(2 ** (32 - p.uploadBits));
  const hintError = uniformStddev(p.hintErrorBits) ** 2 + roundingVariance(2 ** (32 - p.hintBits));
  return Math.sqrt(
    activation +
      weightError * activationNorm ** 2 +
      uniformStddev(p.secretBits) ** 2 * p.keyLength * queryError +
      hintError * ((2 * RING_DEGREE) / 3) +
      roundingVariance(2 ** (32 - p.replyBits)),
  );
}
