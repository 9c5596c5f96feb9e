/** What Q chosen queries may have told of one row, and what its hint still costs a thief. */
import { afterQueries, layerFunctionQueries } from "../rlwe/extraction.ts";
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
  const { inFeatures: n, parameters, weightEntropy, weightStddev } = view;
  const known = layerFunctionQueries(parameters, n, weightStddev);
  return PARTS.map((part) => {
    const { queries, bits, dimension, estimate } = afterQueries(
      parameters,
      n,
      weightStddev,
      Math.round(part * known),
    );
    const { coreBits, standardBits } = estimate;
    return { queries, bits, share: bits / (n * weightEntropy), dimension, coreBits, standardBits };
  });
}
