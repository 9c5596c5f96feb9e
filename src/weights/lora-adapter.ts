/**
 * A LoRA adapter in the PEFT layout: adapter_config.json and adapter_model.safetensors.
 *
 *   delta = scale · B·(A·x), A (rank, in), B (out, rank), for each adapted module
 *
 * An adapted embedding is the same with the one-hot of a token as x: A (rank, vocabulary), B (width, rank).
 * Source: PEFT `src/peft/tuners/lora/`; names of tensors: lora-tensors.ts.
 */

import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { parseJsonRecord, quoteName, readText } from "./json-file.ts";
import { type LoraConfig, readLoraConfig } from "./lora-config.ts";
import { CONFIG, EDITED, readFinite, adapterRefusal, SAVE_AGAIN, WEIGHTS } from "./lora-files.ts";
import type { LoraModule } from "./lora-module.ts";
import { type AdapterParts, readParts } from "./lora-parts.ts";
import { type Role, sortTensors, type SortedTensors } from "./lora-tensors.ts";
import { openSafetensors } from "./safetensors.ts";

export type { AdapterParts, LoraModule };

export interface LoraAdapter {
  /** By name, in the order of UTF-16 code units. */
  readonly modules: ReadonlyMap<string, LoraModule>;
  /**
   * Of an activated LoRA: it acts from the first token of the last place in the prompt on that has these ids, on what
   * is generated too; in a prompt without them, nowhere. What is generated never activates it.
   * Source: PEFT `src/peft/tuners/lora/variants.py`, calculate_alora_offsets.
   */
  readonly invocationTokens?: readonly number[] | undefined;
  /** What it changes besides; absent: nothing. */
  readonly more?: AdapterParts | undefined;
}

/**
 * @throws TacetError bad_adapter if a file is missing or damaged or the two disagree; unsupported_adapter for
 *   an adapter that does what Tacet does not compute, or is pickled
 */
export async function openLoraAdapter(tree: FileTree): Promise<LoraAdapter> {
  const text = await readText(tree, CONFIG, "bad_adapter");
  if (text === undefined) {
    throw new TacetError("bad_adapter", `${tree.label} has no ${CONFIG}`, {
      hint: `give the folder of an adapter in the PEFT layout (${CONFIG}, ${WEIGHTS})`,
    });
  }
  const config = readLoraConfig(parseJsonRecord(text, CONFIG, "bad_adapter"));
  if ((await tree.size(WEIGHTS)) === undefined) throw await missingWeights(tree);
  const { tensors } = await openSafetensors(tree, WEIGHTS, "bad_adapter");
  const sorted = sortTensors(WEIGHTS, tensors.values());
  const modules = new Map<string, LoraModule>();
  for (const path of [...sorted.modules.keys()].sort()) {
    const module = await readModule(tree, config, path, sorted);
    if (module) modules.set(module.name, module);
  }
  if (modules.size === 0) {
    throw new TacetError("bad_adapter", `${WEIGHTS} has no LoRA tensors`, { hint: SAVE_AGAIN });
  }
  const more = await readParts(tree, config, sorted, modules);
  const { invocationTokens } = config;
  if (invocationTokens && more) refuseActivatedParts(more);
  return {
    modules: new Map([...modules].sort(([a], [b]) => (a < b ? -1 : 1))),
    ...(invocationTokens && { invocationTokens }),
    ...(more && { more }),
  };
}

/** What PEFT's activated LoRA does not have: it would have to begin at the invocation too. */
function refuseActivatedParts({ magnitudes, biases }: AdapterParts): void {
  if (magnitudes.size + biases.size === 0) return;
  throw new TacetError(
    "unsupported_adapter",
    "the adapter is an activated LoRA (alora_invocation_tokens) with DoRA or lora_bias: PEFT has no such thing",
    { hint: EDITED },
  );
}

async function missingWeights(tree: FileTree): Promise<TacetError> {
  if ((await tree.size("adapter_model.bin")) === undefined) {
    return new TacetError("bad_adapter", `${tree.label} has no ${WEIGHTS}`, {
      hint: "the download is incomplete: fetch that file",
    });
  }
  return new TacetError(
    "unsupported_adapter",
    `the adapter's weights are in adapter_model.bin, a pickle: reading one can run code`,
    {
      hint: "save it again with PEFT's save_pretrained(..., safe_serialization=True)",
    },
  );
}

/** undefined: there is no pair at this path, only rows of tokens. */
async function readModule(
  tree: FileTree,
  config: LoraConfig,
  path: string,
  { modules }: SortedTensors,
): Promise<LoraModule | undefined> {
  const roles = modules.get(path)!;
  const isEmbedding = roles.has("embeddingA") || roles.has("embeddingB");
  const [sideA, sideB]: [Role, Role] = isEmbedding ? ["embeddingA", "embeddingB"] : ["A", "B"];
  const [a, b] = [roles.get(sideA), roles.get(sideB)];
  const quoted = `module ${quoteName(path)}`;
  if (!a || !b) {
    if (!a && !b && roles.size === 1 && roles.has("tokens")) return undefined;
    if (!a && !b)
      throw adapterRefusal(`${quoted} has no lora_A and no lora_B beside its other tensors`, SAVE_AGAIN);
    const [has, lacks] = isEmbedding ? ["embedding_A", "embedding_B"] : ["A", "B"];
    const [one, other] = a ? [has, lacks] : [lacks, has];
    throw adapterRefusal(`${quoted} has a lora_${one} and no lora_${other}`, SAVE_AGAIN);
  }
  if (isEmbedding && (roles.has("A") || roles.has("B")))
    throw adapterRefusal(`${quoted} is adapted as an embedding and as a linear module`);
  if (a.bytes === 0 || b.bytes === 0) {
    throw adapterRefusal(
      `${quoted} has empty tensors`,
      "DeepSpeed ZeRO-3 saves empty tensors where the weights are not gathered: save it again with " +
        "stage3_gather_16bit_weights_on_model_save, or from the checkpoint with zero_to_fp32.py",
    );
  }
  if (a.shape.length !== 2 || b.shape.length !== 2) {
    throw new TacetError("unsupported_adapter", `${quoted} is not linear: its tensors are not matrices`);
  }
  const name = parameterName(config, path, modules);
  const [rank, inFeatures] = a.shape;
  const outFeatures = b.shape[0];
  const wanted = config.rankOf(name);
  if (rank !== b.shape[1])
    throw adapterRefusal(`${quoted} has a lora_A of rank ${rank} and a lora_B of rank ${b.shape[1]}`);
  const experts = name === path ? 1 : rank / wanted;
  if (rank !== wanted * experts || !Number.isInteger(experts))
    throw adapterRefusal(`${quoted} has rank ${rank}, the configuration says ${wanted}`);
  const module: LoraModule = {
    name,
    rank,
    inFeatures,
    outFeatures,
    a: await readFinite(tree, a, quoted),
    b: await readFinite(tree, b, quoted),
    scale: config.scaleOf(name),
    ...(isEmbedding ? { isEmbedding } : {}),
    ...(experts > 1 ? { experts } : {}),
  };
  return module;
}

/**
 * A module that holds bare parameters is wrapped once for each that is adapted, each wrapper "under" the next one:
 * "experts.base_layer" is the first of them, "experts" the last.
 */
function parameterName(
  { parametersOf }: LoraConfig,
  path: string,
  modules: SortedTensors["modules"],
): string {
  const [module, ...wrappers] = path.split(".base_layer");
  const parameters = parametersOf(module);
  if (wrappers.some((rest) => rest !== ""))
    throw adapterRefusal(`${quoteName(path)} is not the path of a module`);
  if (parameters.length === 0 && wrappers.length === 0) return path;
  const found = [...modules.keys()].filter((other) => other.split(".base_layer")[0] === module).length;
  const parameter = parameters[parameters.length - 1 - wrappers.length];
  if (found !== parameters.length || parameter === undefined) {
    throw adapterRefusal(
      `module ${quoteName(module)} has ${found} LoRA pairs, target_parameters names ${parameters.length} of its parameters`,
    );
  }
  return parameter === "weight" ? module : `${module}.${parameter}`;
}
