/** Whether an adapter is one for this base model, which of its modules are asked for together, and what else it changes. */

import { TacetError } from "../../base/errors.ts";
import { type BaseChanges, NO_CHANGES, type TokenRows } from "../../weights/base-changes.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { AdapterParts, LoraAdapter, LoraModule } from "../../weights/lora-adapter.ts";
import { describeDecoder } from "../architectures/registry.ts";
import type { AdaptedGroup } from "../delta-source.ts";
import { expertNames, type LinearPlace, weightsOf } from "../graph/linear-place.ts";
import { linearPlaces } from "../graph/write-decoder.ts";
import { type AdaptedModule, groupAdaptedModules } from "./adapted-groups.ts";
import { compareCopies } from "./base-copies.ts";
import { rowScales } from "./row-scales.ts";

/** An adapter, fitted to its base model. */
export interface FittedAdapter {
  /** In forward order. */
  readonly groups: readonly AdaptedGroup[];
  /** By name; with DoRA B is s ⊙ B, so that delta is what is added to s ⊙ (W·x). */
  readonly modules: ReadonlyMap<string, LoraModule>;
  readonly changes: BaseChanges;
  /** {@link LoraAdapter.invocationTokens} */
  readonly invocationTokens?: readonly number[] | undefined;
}

/**
 * The adapter's groups in forward order and what it changes of the base, once everything in it is found to have the base
 * model's shape. DoRA's row scales are computed here, from the base's weights.
 *
 * How the base stores its weights, (out, in) or (in, out), is known from its family; `fan_in_fan_out` is not asked.
 *
 * @throws TacetError bad_adapter for an adapter of another base model, by its modules or its invocation,
 *   unsupported_adapter for a module that is nowhere in the forward pass, unsupported_model, bad_checkpoint
 */
export async function fitAdapter(adapter: LoraAdapter, checkpoint: Checkpoint): Promise<FittedAdapter> {
  const decoder = describeDecoder(checkpoint);
  checkInvocation(adapter, decoder.vocabSize);
  const places = linearPlaces(decoder);
  const placeOf = new Map(places.flatMap((place) => place.modules.map((name) => [name, place] as const)));
  const all = new Map<string, LoraModule & AdaptedModule>();
  const renamed = otherNames(places);
  for (const { name, ...rest } of adapter.modules.values()) {
    const module = { ...rest, name: renamed.get(name) ?? name };
    for (const one of module.experts === undefined ? [module] : expertModules(module)) {
      const rowsPerToken = placeOf.get(one.name)?.rowsPerToken;
      all.set(one.name, rowsPerToken === undefined ? one : { ...one, routed: { rowsPerToken } });
    }
  }
  for (const module of all.values()) {
    const place = placeOf.get(module.name);
    // A module of the base model that is at no place is refused by its group below.
    if (!place && !checkpoint.has(`${module.name}.weight`)) throw noSuchModule(module.name, checkpoint);
    if (place?.isRouted) checkExpert(module, place, all);
    else if (place) checkShape(module, place, checkpoint);
  }
  const groups = groupAdaptedModules(
    all.values(),
    places.map(({ modules }) => modules),
  );
  const { invocationTokens } = adapter;
  const more = adapter.more && withNames(adapter.more, renamed);
  if (!more) return { groups, modules: all, changes: NO_CHANGES, invocationTokens };
  await compareCopies(more.copies, placeOf, checkpoint);
  const scales = await rowScales(all, more.magnitudes, placeOf, checkpoint);
  const { biases, tensors } = more;
  const changes = { scales, biases, tensors, tokens: tiedTokens(more.tokens, places) };
  return { groups, modules: scaled(all, scales), changes, invocationTokens };
}

/**
 * A parameter of all experts, (experts, …), has A_e below each other, and column k·experts + e of B is B_e's k-th.
 * Source: PEFT `src/peft/tuners/lora/layer.py`, ParamWrapper.
 */
function expertModules({ name, experts = 1, a, b, ...rest }: LoraModule): LoraModule[] {
  const { inFeatures, outFeatures } = rest;
  const rank = rest.rank / experts;
  return expertNames(name, experts).map((expert, e): LoraModule => {
    const own = new Float32Array(outFeatures * rank);
    for (let o = 0; o < outFeatures; o++) {
      for (let k = 0; k < rank; k++) own[o * rank + k] = b[o * rank * experts + k * experts + e];
    }
    const rows = a.slice(e * rank * inFeatures, (e + 1) * rank * inFeatures);
    return { ...rest, name: expert, rank, a: rows, b: own };
  });
}

function withNames(more: AdapterParts, renamed: ReadonlyMap<string, string>): AdapterParts {
  const byModule = <T>(values: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
    new Map([...values].map(([name, value]) => [renamed.get(name) ?? name, value]));
  const byTensor = <T>(values: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
    new Map(
      [...values].map(([name, value]) => {
        const end = name.lastIndexOf(".");
        const module = renamed.get(name.slice(0, end));
        return [module === undefined ? name : module + name.slice(end), value];
      }),
    );
  return {
    magnitudes: byModule(more.magnitudes),
    biases: byModule(more.biases),
    tokens: byModule(more.tokens),
    tensors: byTensor(more.tensors),
    copies: byTensor(more.copies),
  };
}

/** B of DoRA modules is s ⊙ B. */
function scaled(
  modules: ReadonlyMap<string, LoraModule>,
  scales: ReadonlyMap<string, Float32Array>,
): ReadonlyMap<string, LoraModule> {
  const entries = [...modules].map(([name, module]): [string, LoraModule] => {
    const scale = scales.get(name);
    if (!scale) return [name, module];
    return [name, { ...module, b: module.b.map((value, i) => value * scale[Math.floor(i / module.rank)]) }];
  });
  return new Map(entries);
}

/** A head that is tied to the embedding has its rows of single tokens; what is saved of the head itself goes before. */
function tiedTokens(
  tokens: ReadonlyMap<string, TokenRows>,
  places: readonly LinearPlace[],
): ReadonlyMap<string, TokenRows> {
  const head = places.find(({ isHead, weights }) => isHead && weights !== undefined);
  const rows = head && tokens.get(moduleOf(weightsOf(head)[0]));
  return rows ? new Map([[head.modules[0], rows], ...tokens]) : tokens;
}

const moduleOf = (weight: string): string => weight.replace(/\.weight$/, "");

/** Modules whose weights a checkpoint calls otherwise than transformers does today: both spellings mean the module. */
function otherNames(places: readonly LinearPlace[]): ReadonlyMap<string, string> {
  const own = new Set(places.flatMap(({ modules }) => modules));
  return new Map(
    places
      .flatMap(({ modules, weights = [] }) =>
        weights.map((weight, i) => [moduleOf(weight), modules[i]] as const),
      )
      .filter(([name]) => !own.has(name)),
  );
}

function checkInvocation({ invocationTokens = [] }: LoraAdapter, vocabSize: number): void {
  const strange = invocationTokens.find((id) => id >= vocabSize);
  if (strange === undefined) return;
  throw new TacetError(
    "bad_adapter",
    `the adapter is invoked by the token id ${strange}, outside the base model's vocabulary of ${vocabSize}`,
    { hint: ANOTHER_BASE },
  );
}

const ANOTHER_BASE =
  "the adapter was made for another base model: give the one that its adapter_config.json names (base_model_name_or_path)";

function noSuchModule(name: string, { tree }: Checkpoint): TacetError {
  return new TacetError(
    "bad_adapter",
    `the base model ${tree.label} has no tensor ${quoteName(`${name}.weight`)}, whose module the adapter changes`,
    { hint: ANOTHER_BASE },
  );
}

function checkExpert(
  { name, inFeatures, outFeatures }: LoraModule,
  place: LinearPlace,
  all: ReadonlyMap<string, LoraModule>,
): void {
  const missing = place.modules.find((module) => !all.has(module));
  if (missing === undefined && inFeatures === place.inFeatures && outFeatures === place.outFeatures[0])
    return;
  const parameter = quoteName(name.slice(0, name.lastIndexOf(".")));
  throw new TacetError(
    "bad_adapter",
    `the adapter changes ${parameter} from ${inFeatures} to ${outFeatures} features, and in the base model it has ` +
      `${place.modules.length} experts from ${place.inFeatures} to ${place.outFeatures[0]}`,
    { hint: ANOTHER_BASE },
  );
}

function checkShape(
  { name, inFeatures, outFeatures, rank, isEmbedding = false }: LoraModule,
  place: LinearPlace,
  checkpoint: Checkpoint,
) {
  const at = place.modules.indexOf(name);
  const weight = checkpoint.tensor(weightsOf(place)[at]);
  const [rows, columns] = weight.shape;
  const [baseOut, baseIn] = place.storedInOut ? [columns, rows] : [rows, columns];
  if (isEmbedding !== (place.isEmbedding ?? false)) {
    throw new TacetError(
      "bad_adapter",
      `the adapter changes ${quoteName(name)} as ${isEmbedding ? "an embedding" : "a linear module"}, and in the base model it is none`,
      { hint: ANOTHER_BASE },
    );
  }
  if (weight.shape.length === 2 && baseIn === inFeatures && baseOut === outFeatures) return;
  // The side that disagrees; of two, the input's.
  const [side, shape] = baseIn !== inFeatures ? ["A", [rank, inFeatures]] : ["B", [outFeatures, rank]];
  const tensor = isEmbedding ? `lora_embedding_${side}` : `lora_${side}.weight`;
  throw new TacetError(
    "bad_adapter",
    `tensor ${quoteName(`base_model.model.${name}.${tensor}`)} of the adapter is (${shape.join(", ")}), ` +
      `and does not fit ${quoteName(weight.name)} of the base model, (${weight.shape.join(", ")}): ` +
      `a module from ${inFeatures} to ${outFeatures} features for one from ${baseIn} to ${baseOut}`,
    { hint: ANOTHER_BASE },
  );
}
