/** Where a model has linear modules, and which of them are adapted. */

import { TacetError } from "../../base/errors.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import type { DeltaSource } from "../delta-source.ts";

/** The linear modules that share one input, computed as one product. */
export interface LinearPlace {
  /** Decoder layer, 0-based. */
  readonly layer: number;
  /** Full module names without ".weight". */
  readonly modules: readonly string[];
  /** Length of the input. */
  readonly inFeatures: number;
  /** Length of each module's output. */
  readonly outFeatures: readonly number[];
  /** Whether every module has a bias. */
  readonly bias: boolean;
  /** Weights are stored (in, out), as GPT-2's Conv1D has them. Default: (out, in). */
  readonly storedInOut?: boolean;
  /** The weights are never rounded. */
  readonly exact?: boolean;
}

/** @throws TacetError bad_checkpoint if the file has a bias that the forward pass would leave out */
export function refuseUnusedBiases(places: readonly LinearPlace[], checkpoint: Checkpoint): void {
  for (const { modules, bias } of places) {
    const name = bias ? undefined : modules.find((module) => checkpoint.has(`${module}.bias`));
    if (name === undefined) continue;
    throw new TacetError(
      "bad_checkpoint",
      `there is a tensor ${name}.bias, which config.json does not speak of`,
      {
        hint: "config.json and the weights do not belong together, or its field for biases is wrong (attention_bias, mlp_bias, add_qkv_bias, add_bias_linear)",
      },
    );
  }
}

/**
 * Which place each group of a DeltaSource stands at.
 *
 * @throws TacetError unsupported_adapter if the groups are not the model's: other modules, sizes or order
 */
export function matchGroups(
  places: readonly LinearPlace[],
  deltas: DeltaSource | undefined,
): Map<LinearPlace, number> {
  const groupAt = new Map<LinearPlace, number>();
  let next = 0;
  for (const [index, group] of (deltas?.groups ?? []).entries()) {
    const place = places.slice(next).find(({ modules }) => modules.includes(group.modules[0]));
    const fits =
      place &&
      group.inFeatures === place.inFeatures &&
      group.modules.length === group.outFeatures.length &&
      new Set(group.modules).size === group.modules.length &&
      group.modules.every((name, i) => {
        const at = place.modules.indexOf(name);
        return at >= 0 && group.outFeatures[i] === place.outFeatures[at];
      });
    if (!fits) {
      throw new TacetError(
        "unsupported_adapter",
        `adapted group ${index} (${group.modules.join(", ").slice(0, 200)}) does not fit the model's layers`,
        { hint: "was the adapter made for another base model?" },
      );
    }
    groupAt.set(place, index);
    next = places.indexOf(place) + 1;
  }
  return groupAt;
}

/** First column of a module in the place's joined product, and its width. */
function columnsOf({ modules, outFeatures }: LinearPlace, name: string): { first: number; out: number } {
  const at = modules.indexOf(name);
  return { first: outFeatures.slice(0, at).reduce((sum, out) => sum + out, 0), out: outFeatures[at] };
}

/** The columns of each of `modules` in the place's joined product of one token, Σ outFeatures. */
export function partsOf(
  place: LinearPlace,
  modules: readonly string[],
  joined: Float32Array,
): Float32Array[] {
  return modules.map((name) => {
    const { first, out } = columnsOf(place, name);
    return joined.subarray(first, first + out);
  });
}

/**
 * Writes the deltas of a group beside each other as the place's joined product has its columns:
 * (tokens, Σ outFeatures of the place) row-major. Columns of modules that are not adapted stay as they are.
 *
 * @param deltas one (tokens, out) row-major for each name of `modules`
 * @throws RangeError if a delta has another length
 */
export function joinDeltas(
  place: LinearPlace,
  modules: readonly string[],
  deltas: readonly Float32Array[],
  joined: Float32Array,
): void {
  if (deltas.length !== modules.length) throw new RangeError("one delta per module of the group is needed");
  const width = place.outFeatures.reduce((sum, out) => sum + out, 0);
  const tokens = joined.length / width;
  for (let i = 0; i < modules.length; i++) {
    const delta = deltas[i];
    const { first, out } = columnsOf(place, modules[i]);
    if (delta.length !== tokens * out) throw new RangeError(`delta of ${modules[i]} has a wrong length`);
    if (tokens === 1 || out === width) {
      joined.set(delta, first);
      continue;
    }
    for (let token = 0; token < tokens; token++) {
      joined.set(delta.subarray(token * out, (token + 1) * out), token * width + first);
    }
  }
}
