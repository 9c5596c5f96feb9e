/** What a thief knows of one group before he asks anything: the public bundle, read like any client reads it. */
import type { Bundle, BundleTensors } from "../bundle/bundle.ts";
import { type BundleGroup, bundleIdBytes, rowsOf } from "../bundle/manifest.ts";
import { weightStddevOf } from "../rlwe/extraction.ts";
import { weightEntropy } from "../rlwe/lattice-estimate.ts";
import { type Layout, layoutOf, type Parameters, replyBits, weightBits } from "../rlwe/parameters.ts";

export interface GroupView {
  readonly index: number;
  readonly parameters: Parameters;
  readonly bundleId: Uint8Array;
  readonly spec: BundleGroup;
  readonly tensors: BundleTensors;
  readonly layout: Layout;
  /** n */
  readonly inFeatures: number;
  /** R */
  readonly rows: number;
  /** w */
  readonly weightBits: number;
  /** b0 */
  readonly replyBits: number;
  /** Standard deviation of one entry of W, as far as the published norm bound tells. */
  readonly weightStddev: number;
  /** h_A: bits in one entry of a Gaussian W of that width. */
  readonly weightEntropy: number;
}

export function groupView(bundle: Bundle, index: number): GroupView {
  const { manifest } = bundle;
  const { parameters } = manifest;
  const spec = manifest.groups[index];
  const n = spec.inFeatures;
  const stddev = weightStddevOf(spec.normBound, n);
  return {
    index,
    parameters,
    bundleId: bundleIdBytes(manifest),
    spec,
    tensors: bundle.groups[index],
    layout: layoutOf(parameters, n),
    inFeatures: n,
    rows: rowsOf(spec),
    weightBits: weightBits(parameters, n),
    replyBits: replyBits(parameters, n),
    weightStddev: stddev,
    weightEntropy: weightEntropy(stddev),
  };
}
