/** What the provider hides, for scoring only: no attack reads it. */
import type { CreatedBundle } from "../bundle/create-bundle.ts";
import { readPrivateState } from "../bundle/private-state.ts";
import type { LoraPair } from "../pll/lora-split.ts";
import { multiply } from "../pll/orthogonal.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import type { GroupView } from "./group-view.ts";

export interface GroupTruth {
  /** W, (R, n). */
  readonly integers: Int32Array;
  /** B′ᵀ·(scale·B·A), (R, n): A′ before it was quantised, in the published basis. */
  readonly real: Float64Array;
  /** What else is to be done with each copy that is scored: in units of W, (R, n). */
  readonly onCopy?: ((queries: number, copy: Float64Array) => void) | undefined;
}

const PRIVATE = "private.safetensors";

export async function groupTruth(
  made: CreatedBundle,
  modules: ReadonlyMap<string, LoraPair>,
  view: GroupView,
): Promise<GroupTruth> {
  const tree = memoryFileTree({ [PRIVATE]: made.privateState }, "private state");
  const { groups } = await readPrivateState(tree, PRIVATE, made.manifest, made.digest);
  const { weights } = groups[view.index];
  const parts = view.spec.modules.map(({ name }, i) => {
    const pair = modules.get(name);
    if (pair === undefined) throw new RangeError("a module of the bundle is not in the adapter");
    return inBasis(view.tensors.bases[i], pair, view.spec.modules[i].rows);
  });
  const real = new Float64Array(view.rows * view.inFeatures);
  let offset = 0;
  for (const part of parts) {
    real.set(part, offset);
    offset += part.length;
  }
  return { integers: weights, real };
}

/** B′ᵀ·(scale·B·A), (rows, in). */
function inBasis(basis: Float32Array, pair: LoraPair, rows: number): Float64Array {
  const core = new Float64Array(rows * pair.rank);
  for (let i = 0; i < pair.outFeatures; i++) {
    for (let k = 0; k < rows; k++) {
      const factor = pair.scale * basis[i * rows + k];
      for (let l = 0; l < pair.rank; l++) core[k * pair.rank + l] += factor * pair.b[i * pair.rank + l];
    }
  }
  return multiply(core, pair.a, rows, pair.rank, pair.inFeatures);
}
