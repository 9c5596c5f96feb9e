/** Where a model has linear modules, and which of them are adapted. */

import { TacetError } from "../../base/errors.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { readTensorF32 } from "../../weights/safetensors.ts";
import type { DeltaSource } from "../delta-source.ts";

/**
 * The linear modules that share one input, computed as one product; also the embedding, which is W·x with the one-hot of
 * a token as x.
 */
export interface LinearPlace {
  /** Decoder layer, 0-based; of the embedding the first one, of the head the last one. */
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
  /** Rows are looked up by token: `inFeatures` is the vocabulary. */
  readonly isEmbedding?: boolean;
  /**
   * The modules are experts: each row of x is for those that the router has chosen for it, and the outputs are of routes
   * (blocks/routing.ts), (1, routes, out). All have the same sizes.
   */
  readonly isRouted?: boolean;
  /** Rows of x for each token; default: 1. */
  readonly rowsPerToken?: number;
  /** It makes the logits. */
  readonly isHead?: boolean;
  /** Names of the weights where they are not the modules' own: a head that is tied to the embedding. */
  readonly weights?: readonly string[];
}

/** One of the two matrices of all experts. @param parameter as an adapter names it: "…mlp.experts.down_proj" */
export function expertPlace(
  layer: number,
  parameter: string,
  experts: number,
  [inFeatures, outFeatures]: readonly [inFeatures: number, outFeatures: number],
  rowsPerToken: number,
): LinearPlace {
  return {
    ...{ layer, modules: expertNames(parameter, experts), inFeatures, bias: false },
    ...{ outFeatures: Array<number>(experts).fill(outFeatures), isRouted: true, rowsPerToken },
  };
}

/** What the experts of an adapted parameter are called, one by one. */
export function expertNames(parameter: string, experts: number): string[] {
  return Array.from({ length: experts }, (_, expert) => `${parameter}.${expert}`);
}

/** @param module without ".weight" */
export function embeddingPlace(module: string, vocabSize: number, width: number): LinearPlace {
  return {
    ...{ layer: 0, modules: [module], inFeatures: vocabSize, outFeatures: [width] },
    ...{ bias: false, storedInOut: true, isEmbedding: true },
  };
}

/** @param weight name of its tensor: its own, or that of an embedding that it is tied to */
export function headPlace(
  module: string,
  layers: number,
  [vocabSize, width]: readonly [vocabSize: number, width: number],
  { weight, bias = false }: { readonly weight: string; readonly bias?: boolean | undefined },
): LinearPlace {
  return {
    ...{ layer: layers - 1, modules: [module], inFeatures: width, outFeatures: [vocabSize] },
    ...{ bias, isHead: true },
    ...(weight === `${module}.weight` ? {} : { weights: [weight] }),
  };
}

/** Names of the place's weights, one for each module. */
export function weightsOf({ modules, weights }: LinearPlace): readonly string[] {
  return weights ?? modules.map((module) => `${module}.weight`);
}

/**
 * Biases of zeros may be left out: quantizers write them for modules that have none.
 *
 * @throws TacetError bad_checkpoint if the file has a bias that the forward pass would leave out
 */
export async function refuseUnusedBiases(
  places: readonly LinearPlace[],
  checkpoint: Checkpoint,
): Promise<void> {
  for (const module of places.flatMap(({ modules, bias }) => (bias ? [] : modules))) {
    const name = `${module}.bias`;
    if (!checkpoint.has(name)) continue;
    const bias = await readTensorF32(checkpoint.tree, checkpoint.tensor(name));
    if (bias.every((entry) => entry === 0)) continue;
    throw new TacetError("bad_checkpoint", `there is a tensor ${name}, which config.json does not speak of`, {
      hint: "config.json and the weights do not belong together, or its field for biases is wrong (attention_bias, mlp_bias, add_qkv_bias, add_bias_linear)",
    });
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
      (group.input === "ids") === (place.isEmbedding ?? false) &&
      (group.input === "routed") === (place.isRouted ?? false) &&
      (!place.isRouted || group.modules.join() === place.modules.join()) &&
      group.modules.length === group.outFeatures.length &&
      new Set(group.modules).size === group.modules.length &&
      group.modules.every((name, i) => {
        const at = place.modules.indexOf(name);
        return at >= 0 && group.outFeatures[i] === place.outFeatures[at];
      });
    if (!fits) {
      throw new TacetError(
        "unsupported_adapter",
        `adapted group ${index} (${group.modules.join(", ").slice(0, 200)}) does not fit the model`,
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
