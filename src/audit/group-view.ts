/** What a thief knows of one group before he asks anything: the public bundle, read like any client reads it. */
import type { Bundle, BundleTensors } from "../bundle/bundle.ts";
import { type BundleGroup, bundleIdBytes, groupRows } from "../bundle/manifest.ts";
import { predictedRelativeError } from "../pll/noise.ts";
import { answeredEntropy, functionQueries } from "../rlwe/lattice-estimate.ts";
import type { Parameters } from "../rlwe/parameters.ts";

export interface GroupView {
  readonly index: number;
  readonly parameters: Parameters;
  readonly bundleId: Uint8Array;
  readonly spec: BundleGroup;
  readonly tensors: BundleTensors;
  /** n */
  readonly inFeatures: number;
  /** R */
  readonly rows: number;
  /** Standard deviation of one entry of W, rows being as long as they may be. */
  readonly weightStddev: number;
  /** A weight counts as known within this: the number of values that E has. Answers tell W + E. */
  readonly knownWithin: number;
  /** h_A: bits of a weight at the precision of answers. */
  readonly weightEntropy: number;
  /** Q_func = n·h_A/b0 */
  readonly functionQueries: number;
}

export function groupView(bundle: Bundle, index: number): GroupView {
  const { manifest } = bundle;
  const { parameters } = manifest;
  const spec = manifest.groups[index];
  const n = spec.inFeatures;
  const weightEntropy = answeredEntropy(predictedRelativeError(parameters, n));
  return {
    index,
    parameters,
    bundleId: bundleIdBytes(manifest),
    spec,
    tensors: bundle.groups[index],
    inFeatures: n,
    rows: groupRows(spec),
    weightStddev: parameters.rowNorm / Math.sqrt(n),
    knownWithin: 2 ** parameters.weightErrorBits,
    weightEntropy,
    functionQueries: functionQueries(n, weightEntropy, parameters.replyBits),
  };
}
