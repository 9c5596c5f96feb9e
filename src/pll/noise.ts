/**
 * The noise of a result, predicted (docs/parameters.md §Precision):
 *   u = W·S·x + W·(e + e_up + e_x) + P·(e_pad + e_up) − (E + E_round)·s + rounding of the reply.
 * All terms are independent and centred, so their variances add. Integer units of Z_q. For tests, tools and
 * documents; nothing here reaches the wire.
 */
import { RING_DEGREE } from "../ring/kernels.ts";
import { errorStddev, type Parameters, paddingStddev, replyBits, uploadBits } from "../rlwe/parameters.ts";

/** Standard deviation of a rounding error that is uniform over an interval of this width. */
function uniformStddev(width: number): number {
  return width / Math.sqrt(12);
}

/**
 * Standard deviation of one result word u around W·S·x.
 *
 * @param rowNorm Euclidean norm of the row of W
 * @param inFeatures n
 */
export function predictedNoiseStddev(p: Parameters, rowNorm: number, inFeatures: number): number {
  const upload = uniformStddev(2 ** (32 - uploadBits(p)));
  const wordVariance = errorStddev(p) ** 2 + upload ** 2;
  const quantization = uniformStddev(1) ** 2;
  const data = rowNorm ** 2 * (wordVariance + quantization);
  const padding = paddingStddev(p) ** 2 * p.paddingLength * wordVariance;
  const hintVariance = p.hintErrorStddev ** 2 + uniformStddev(2 ** (32 - p.hintBits)) ** 2;
  const hint = hintVariance * ((2 * RING_DEGREE) / 3);
  const reply = uniformStddev(2 ** (32 - replyBits(p, inFeatures))) ** 2;
  return Math.sqrt(data + padding + hint + reply);
}
