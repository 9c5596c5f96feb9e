/** What queries tell of a layer's weights, and what its hint still costs a thief then. (docs/parameters.md, After queries.) */
import {
  estimateLwe,
  functionQueries,
  type LweEstimate,
  remainingHintDimension,
  weightEntropy,
} from "./lattice-estimate.ts";
import { type Parameters, paddingEntropy, replyBits } from "./parameters.ts";

/** Largest over typical row norm, 1.06, and half a step of the 2^(1/4) grid on which the bound is published. */
const NORM_BOUND_OVER_TYPICAL = 1.06 * 2 ** (1 / 8);
/** Rounding to integers leaves no Gaussian narrower than this. */
const LEAST_STDDEV = 0.5;

/** sigma_W of a layer of width n, as far as its published norm bound tells. */
export function weightStddevOf(normBound: number, n: number): number {
  return Math.max(LEAST_STDDEV, normBound / NORM_BOUND_OVER_TYPICAL / Math.sqrt(n));
}

/** Q_func = n·h_A/b0: chosen vectors after which the function is known to the precision of the replies. */
export function layerFunctionQueries(p: Parameters, n: number, weightStddev: number): number {
  return functionQueries(n, Math.max(0, weightEntropy(weightStddev)), replyBits(p, n));
}

export interface AfterQueries {
  readonly queries: number;
  /** Q·b0: at most so many bits of a row are known. */
  readonly bits: number;
  /** D(Q): entries of a row of [W | P] that the hint still hides. */
  readonly dimension: number;
  /** LWE of that dimension, its secret as wide as the weights. */
  readonly estimate: LweEstimate;
}

export function afterQueries(p: Parameters, n: number, weightStddev: number, queries: number): AfterQueries {
  const bits = replyBits(p, n);
  const dimension = remainingHintDimension({
    n,
    paddingLength: p.paddingLength,
    queries,
    replyBits: bits,
    weightEntropy: Math.max(1, weightEntropy(weightStddev)),
    paddingEntropy: paddingEntropy(p),
  });
  const estimate = estimateLwe({
    dimension: Math.max(1, dimension),
    logQ: p.logQ,
    secretStddev: weightStddev,
    errorStddev: p.hintErrorStddev,
    samples: p.ringDegree,
  });
  return { queries, bits: queries * bits, dimension, estimate };
}
