/**
 * A LoRA adapter in the PEFT layout: adapter_config.json and adapter_model.safetensors.
 *
 *   delta = scale · B·(A·x), A (rank, in), B (out, rank), for each adapted module
 *
 * Source: PEFT `src/peft/tuners/lora/`; tensors are named "base_model.model." + module + ".lora_A.weight", in a
 * state dict that was saved without PEFT's help ".lora_A.default.weight", where "default" is the adapter's name.
 */

import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { parseJsonRecord, quoteName, readText } from "./json-file.ts";
import { type LoraConfig, readLoraConfig } from "./lora-config.ts";
import { openSafetensors, readTensorF32, type TensorInfo } from "./safetensors.ts";

export interface LoraModule {
  /** Path of the adapted module in the base model, without ".weight". */
  readonly name: string;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** (rank, in) row-major. */
  readonly a: Float32Array;
  /** (out, rank) row-major. */
  readonly b: Float32Array;
  readonly scale: number;
}

export interface LoraAdapter {
  /** By name, in the order of UTF-16 code units. */
  readonly modules: ReadonlyMap<string, LoraModule>;
  /**
   * Of an activated LoRA: it acts from the first token of the last place in the prompt on that has these ids, on what
   * is generated too; in a prompt without them, nowhere. What is generated never activates it.
   * Source: PEFT `src/peft/tuners/lora/variants.py`, calculate_alora_offsets.
   */
  readonly invocationTokens?: readonly number[];
}

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const SAVE_AGAIN = "save the trained model again with PEFT's save_pretrained";
const TENSOR_NAME = /^base_model\.model\.(.+)\.lora_([AB])(?:\.([^.]+))?\.weight$/;

/**
 * @throws TacetError bad_adapter if a file is missing or damaged or the two disagree; unsupported_adapter for
 *   an adapter that is more than a LoRA on linear modules, or pickled
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

  const modules = new Map<string, LoraModule>();
  for (const [name, { a, b }] of pairTensors(tensors.values())) {
    modules.set(name, await readModule(tree, config, name, a, b));
  }
  if (modules.size === 0) {
    throw new TacetError("bad_adapter", `${WEIGHTS} has no LoRA tensors`, { hint: SAVE_AGAIN });
  }
  const { invocationTokens } = config;
  return { modules, ...(invocationTokens && { invocationTokens }) };
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

/** Module path → its two tensors, sorted by path. */
function pairTensors(tensors: Iterable<TensorInfo>): [string, { a: TensorInfo; b: TensorInfo }][] {
  const found = new Map<string, { A?: TensorInfo; B?: TensorInfo }>();
  const adapters = new Set<string>();
  for (const info of tensors) {
    const [, module, side, adapter = ""] = TENSOR_NAME.exec(info.name) ?? [];
    if (module === undefined || module.length > 512) throw strangeTensor(info.name);
    if (adapters.add(adapter).size > 1) throw severalAdapters(adapters);
    const pair = found.get(module) ?? {};
    pair[side as "A" | "B"] = info;
    found.set(module, pair);
  }
  return [...found.keys()].sort().map((module) => {
    const { A: a, B: b } = found.get(module) as { A?: TensorInfo; B?: TensorInfo };
    if (a && b) return [module, { a, b }];
    throw new TacetError(
      "bad_adapter",
      `${WEIGHTS}: module ${quoteName(module)} has a lora_${a ? "A" : "B"} and no lora_${a ? "B" : "A"}`,
      { hint: SAVE_AGAIN },
    );
  });
}

function severalAdapters(names: ReadonlySet<string>): TacetError {
  const list = [...names].map((name) => (name === "" ? "one without a name" : quoteName(name))).join(", ");
  return new TacetError("unsupported_adapter", `${WEIGHTS} holds more than one adapter: ${list}`, {
    hint: "save each adapter into a separate folder",
  });
}

function strangeTensor(name: string): TacetError {
  let what = "is not a lora_A or lora_B weight";
  if (name.includes("lora_magnitude_vector")) what = "belongs to a DoRA adapter";
  else if (name.includes("lora_embedding")) what = "adapts an embedding";
  else if (name.endsWith(".bias")) what = "is a bias";
  else if (name.includes("modules_to_save")) what = "replaces a whole module";
  return new TacetError("unsupported_adapter", `${WEIGHTS}: tensor ${quoteName(name)} ${what}`, {
    hint: "Tacet runs adapters that hold lora_A and lora_B pairs of linear modules and nothing else",
  });
}

async function readModule(
  tree: FileTree,
  config: LoraConfig,
  name: string,
  a: TensorInfo,
  b: TensorInfo,
): Promise<LoraModule> {
  const refuse = (
    what: string,
    hint = `${CONFIG} and ${WEIGHTS} do not belong together, or were edited`,
  ): never => {
    throw new TacetError("bad_adapter", `${WEIGHTS}: module ${quoteName(name)} ${what}`, { hint });
  };
  if (a.bytes === 0 || b.bytes === 0) {
    throw new TacetError("bad_adapter", `${WEIGHTS}: module ${quoteName(name)} has empty tensors`, {
      hint:
        "DeepSpeed ZeRO-3 saves empty tensors where the weights are not gathered: save it again with " +
        "stage3_gather_16bit_weights_on_model_save, or from the checkpoint with zero_to_fp32.py",
    });
  }
  if (a.shape.length !== 2 || b.shape.length !== 2) {
    throw new TacetError(
      "unsupported_adapter",
      `module ${quoteName(name)} is not linear: its tensors are not matrices`,
    );
  }
  const [rank, inFeatures] = a.shape;
  const outFeatures = b.shape[0];
  if (rank !== b.shape[1]) refuse(`has a lora_A of rank ${rank} and a lora_B of rank ${b.shape[1]}`);
  if (rank !== config.rankOf(name)) refuse(`has rank ${rank}, the configuration says ${config.rankOf(name)}`);
  if (inFeatures === 0 || outFeatures === 0) refuse("is empty");
  const module: LoraModule = {
    name,
    rank,
    inFeatures,
    outFeatures,
    a: await readTensorF32(tree, a, "unsupported_adapter"),
    b: await readTensorF32(tree, b, "unsupported_adapter"),
    scale: config.scaleOf(name),
  };
  if (!module.a.every(Number.isFinite) || !module.b.every(Number.isFinite))
    refuse("holds values that are not finite", "its training diverged, or the file is damaged: get it again");
  return module;
}
