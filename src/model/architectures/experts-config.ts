/** Mixtures of experts as config.json and the names of tensors have them. */

import type { ExpertGate, ExpertMatrices } from "../graph/blocks/experts.ts";
import { expertPlace, type LinearPlace } from "../graph/linear-place.ts";
import type { Experts } from "../graph/modules/experts.ts";
import { bad, count, present, type RawConfig, show } from "./config-fields.ts";

/** How many experts there are, and how many of them each token goes through. */
export interface ExpertCounts {
  readonly experts: number;
  readonly chosen: number;
}

const SPELLINGS = ["num_experts", "num_local_experts"] as const;

/** Fields of other families' experts, which are read here. */
export const EXPERT_FIELDS: readonly string[] = SPELLINGS;

/**
 * transformers 5 takes both spellings of the number for one.
 * @throws TacetError bad_checkpoint for more chosen ones than there are, and for spellings that disagree
 */
export function readExpertCounts(raw: RawConfig, defaults: ExpertCounts): ExpertCounts {
  const [field, other] = SPELLINGS.filter((name) => present(raw[name]));
  if (other && raw[other] !== raw[field]) {
    throw bad(field, `is ${show(raw[field])}, ${other} ${show(raw[other])}`);
  }
  const experts = count(raw, field ?? SPELLINGS[0], defaults.experts, 2 ** 16);
  const chosen = count(raw, "num_experts_per_tok", defaults.chosen);
  if (chosen > experts) throw bad("num_experts_per_tok", `${chosen} is more than the ${experts} experts`);
  return { experts, chosen };
}

/** What the experts of a layer have besides their tensors. */
export interface ExpertChoices extends ExpertCounts {
  readonly layer: number;
  readonly hiddenSize: number;
  /** Width of one expert. */
  readonly width: number;
  readonly normalized: boolean;
  readonly gate: ExpertGate;
}

/**
 * @param name of the router's module as transformers 5 has it, and so adapters
 * @param weight of its tensor, where that is called otherwise
 */
export function routerPlace(
  { layer, hiddenSize, experts }: ExpertChoices,
  name: string,
  { bias = false, weight }: { readonly bias?: boolean; readonly weight?: string } = {},
): LinearPlace {
  return {
    layer,
    modules: [name],
    inFeatures: hiddenSize,
    outFeatures: [experts],
    bias,
    exact: true,
    ...(weight === undefined ? {} : { weights: [weight] }),
  };
}

/**
 * Experts whose tensors are modules by themselves: `names.gate` of expert 3 of "mlp.experts" is "mlp.experts.3.gate".
 *
 * @param module of all experts as transformers 5 has it, and so adapters; default: the list
 */
export function separateExperts(
  choices: ExpertChoices,
  router: LinearPlace,
  list: string,
  names: { readonly gate: string; readonly up: string; readonly down: string },
  module: string = list,
): Experts {
  const { experts, width, hiddenSize } = choices;
  const tensors = (...modules: string[]) =>
    Array.from({ length: experts }, (_, e) => modules.map((module) => `${list}.${e}.${module}.weight`));
  const first = {
    tensors: tensors(names.gate, names.up),
    outFeatures: [width, width],
    inFeatures: hiddenSize,
  };
  const second = { tensors: tensors(names.down), outFeatures: [hiddenSize], inFeatures: width };
  return expertsOf(choices, router, module, first, second);
}

/**
 * Experts that have one tensor for all gates and ups, (experts, …), and one for all downs.
 *
 * @param module of all experts as transformers 5 has it, and so adapters
 */
export function joinedExperts(
  choices: ExpertChoices,
  router: LinearPlace,
  module: string,
  names: { readonly gateUp: string; readonly down: string },
  options: Pick<ExpertMatrices, "storedInOut"> & { readonly biases?: { gateUp: string; down: string } } = {},
): Experts {
  const { width, hiddenSize } = choices;
  const { biases, ...stored } = options;
  const first = {
    tensors: names.gateUp,
    outFeatures: [2 * width],
    inFeatures: hiddenSize,
    ...stored,
    ...(biases ? { bias: biases.gateUp } : {}),
  };
  const second = {
    tensors: names.down,
    outFeatures: [hiddenSize],
    inFeatures: width,
    ...stored,
    ...(biases ? { bias: biases.down } : {}),
  };
  return expertsOf(choices, router, module, first, second);
}

function expertsOf(
  { layer, experts, chosen, normalized, gate, hiddenSize, width }: ExpertChoices,
  router: LinearPlace,
  module: string,
  first: ExpertMatrices,
  second: ExpertMatrices,
): Experts {
  const placeOf = (parameter: string, sizes: readonly [number, number], rowsPerToken: number) =>
    expertPlace(layer, `${module}.${parameter}`, experts, sizes, rowsPerToken);
  return {
    ...{ kind: "experts", router, experts, chosen, normalized, gate },
    first: { ...first, place: placeOf("gate_up_proj", [hiddenSize, 2 * width], 1) },
    second: { ...second, place: placeOf("down_proj", [width, hiddenSize], chosen) },
  };
}
