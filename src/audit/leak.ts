/** What Q chosen queries may have told of one row, and what its hint still costs a thief. */
import { estimateLwe, functionQueries, remainingHintDimension } from "../rlwe/lattice-estimate.ts";
import { paddingEntropy } from "../rlwe/parameters.ts";
import type { GroupView } from "./group-view.ts";

export interface LeakRow {
  readonly queries: number;
  /** Q·b0: at most so many bits of a row. */
  readonly bits: number;
  /** … as a share of the n·h_A bits that a row has. */
  readonly share: number;
  /** D(Q): LWE dimension that is left in the hint. */
  readonly dimension: number;
  readonly coreBits: number;
  readonly standardBits: number;
}

/** Parts of Q_func, the number of queries that teach the function. */
const PARTS = [0, 0.125, 0.25, 0.5, 0.75, 1];

export function leakTable(view: GroupView): LeakRow[] {
  const { inFeatures: n, parameters, replyBits, weightEntropy } = view;
  const known = functionQueries(n, weightEntropy, replyBits);
  return PARTS.map((part) => {
    const queries = Math.round(part * known);
    const dimension = remainingHintDimension({
      n,
      paddingLength: parameters.paddingLength,
      queries,
      replyBits,
      weightEntropy,
      paddingEntropy: paddingEntropy(parameters),
    });
    const { coreBits, standardBits } = estimateRest(view, dimension);
    const bits = queries * replyBits;
    return { queries, bits, share: bits / (n * weightEntropy), dimension, coreBits, standardBits };
  });
}

/** A row of the hint with `dimension` entries unknown, as wide as the weights. */
function estimateRest({ parameters, weightStddev }: GroupView, dimension: number) {
  return estimateLwe({
    dimension: Math.max(1, dimension),
    logQ: parameters.logQ,
    secretStddev: weightStddev,
    errorStddev: parameters.hintErrorStddev,
    samples: parameters.ringDegree,
  });
}
