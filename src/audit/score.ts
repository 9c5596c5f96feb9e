/** How good a stolen copy is. */

import type { GroupView } from "./group-view.ts";
import type { GroupTruth } from "./truth.ts";

export interface CurvePoint {
  readonly queries: number;
  /** ‖copy − A′‖/‖A′‖ (Frobenius); B′ is orthonormal, so this is the relative error of the recovered B·A. */
  readonly weightError: number;
  /** The same of the deltas on activations that the attack did not see. */
  readonly deltaError: number;
  /** Share of the integers of W that are known to within E's width, among all R·n. */
  readonly known: number;
}

/** Activations of one kind: (count, n) row-major each. */
export interface Activations {
  /** "text", "white", "1/i spectrum" */
  readonly name: string;
  /** What attacks may use. */
  readonly seen: Float32Array;
  readonly heldOut: Float32Array;
}

/** Scores an estimate of W, (R, n) in its own unit, 0 where the thief knows nothing. */
export function scoreCopy(
  view: GroupView,
  truth: GroupTruth,
  heldOut: Float32Array,
  queries: number,
  estimate: Float64Array,
): CurvePoint {
  truth.onCopy?.(queries, estimate);
  const { rows, inFeatures: n, tensors } = view;
  const difference = new Float64Array(rows * n);
  let known = 0;
  let error = 0;
  let size = 0;
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < n; j++) {
      const i = r * n + j;
      difference[i] = tensors.scales[r] * estimate[i] - truth.real[i];
      if (Math.abs(estimate[i] - truth.integers[i]) <= view.knownWithin) known++;
      error += difference[i] ** 2;
      size += truth.real[i] ** 2;
    }
  }
  let deltaError = 0;
  let deltaSize = 0;
  for (let t = 0; t < heldOut.length / n; t++) {
    for (let r = 0; r < rows; r++) {
      let off = 0;
      let right = 0;
      for (let j = 0; j < n; j++) {
        const x = heldOut[t * n + j];
        off += difference[r * n + j] * x;
        right += truth.real[r * n + j] * x;
      }
      deltaError += off * off;
      deltaSize += right * right;
    }
  }
  return {
    queries,
    weightError: Math.sqrt(error / size),
    deltaError: Math.sqrt(deltaError / deltaSize),
    known: known / (rows * n),
  };
}

/** About `count` numbers of queries from 1 to `most`, evenly spaced from most/count on. */
export function checkpoints(most: number, count = 10): number[] {
  const points = new Set<number>();
  for (let i = 1; i <= count; i++) points.add(Math.max(1, Math.round((most * i) / count)));
  return [...points];
}
