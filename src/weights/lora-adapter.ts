/**
 * A LoRA adapter in the PEFT layout: adapter_config.json and adapter_model.safetensors.
 *
 *   delta = scale · B·(A·x), A (rank, in), B (out, rank), for each adapted module
 *
 * An adapted embedding is the same with the one-hot of a token as x: A (rank, vocabulary), B (width, rank).
 * Source: PEFT `src/peft/tuners/lora/`; names of tensors: lora-tensors.ts.
 */

import { equalBytes } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { type ChangedTensor, readChangedTensor, type TokenRows } from "./base-changes.ts";
import { parseJsonRecord, quoteName, readText } from "./json-file.ts";
import { type LoraConfig, readLoraConfig } from "./lora-config.ts";
import { type Role, sortTensors, type SortedTensors } from "./lora-tensors.ts";
import {
  openSafetensors,
  readTensorBytes,
  readTensorF32,
  type StoredTensor,
  type TensorInfo,
} from "./safetensors.ts";

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
  /** It adapts an embedding: x is the one-hot of a token. Default: a linear module. */
  readonly isEmbedding?: boolean;
  /** Experts that lie beside each other: the rank is that of one times this. Default: 1 */
  readonly experts?: number;
}

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

/** What an adapter has besides low-rank pairs; by module, or by the base's name of a tensor. */
export interface AdapterParts {
  /** DoRA: the lengths of the rows of W + scale·B·A, (outFeatures). */
  readonly magnitudes: ReadonlyMap<string, Float32Array>;
  /** scale·b of `lora_bias`, (outFeatures). */
  readonly biases: ReadonlyMap<string, Float32Array>;
  /** In the place of the base's. */
  readonly tensors: ReadonlyMap<string, ChangedTensor>;
  readonly tokens: ReadonlyMap<string, TokenRows>;
  /** What PEFT saved of the base itself. */
  readonly copies: ReadonlyMap<string, StoredTensor>;
}

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const SAVE_AGAIN = "save the trained model again with PEFT's save_pretrained";
const EDITED = `${CONFIG} and ${WEIGHTS} do not belong together, or were edited`;

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

const refusal = (what: string, hint = EDITED): TacetError =>
  new TacetError("bad_adapter", `${WEIGHTS}: ${what}`, { hint });

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
    if (!a && !b) throw refusal(`${quoted} has no lora_A and no lora_B beside its other tensors`, SAVE_AGAIN);
    const [has, lacks] = isEmbedding ? ["embedding_A", "embedding_B"] : ["A", "B"];
    const [one, other] = a ? [has, lacks] : [lacks, has];
    throw refusal(`${quoted} has a lora_${one} and no lora_${other}`, SAVE_AGAIN);
  }
  if (isEmbedding && (roles.has("A") || roles.has("B")))
    throw refusal(`${quoted} is adapted as an embedding and as a linear module`);
  if (a.bytes === 0 || b.bytes === 0) {
    throw refusal(
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
    throw refusal(`${quoted} has a lora_A of rank ${rank} and a lora_B of rank ${b.shape[1]}`);
  const experts = name === path ? 1 : rank / wanted;
  if (rank !== wanted * experts || !Number.isInteger(experts))
    throw refusal(`${quoted} has rank ${rank}, the configuration says ${wanted}`);
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
  if (wrappers.some((rest) => rest !== "")) throw refusal(`${quoteName(path)} is not the path of a module`);
  if (parameters.length === 0 && wrappers.length === 0) return path;
  const found = [...modules.keys()].filter((other) => other.split(".base_layer")[0] === module).length;
  const parameter = parameters[parameters.length - 1 - wrappers.length];
  if (found !== parameters.length || parameter === undefined) {
    throw refusal(
      `module ${quoteName(module)} has ${found} LoRA pairs, target_parameters names ${parameters.length} of its parameters`,
    );
  }
  return parameter === "weight" ? module : `${module}.${parameter}`;
}

/** Everything but the pairs; undefined if there is nothing. */
async function readParts(
  tree: FileTree,
  config: LoraConfig,
  { modules, whole, under }: SortedTensors,
  pairs: ReadonlyMap<string, LoraModule>,
): Promise<AdapterParts | undefined> {
  const magnitudes = new Map<string, Float32Array>();
  const biases = new Map<string, Float32Array>();
  const tokens = new Map<string, TokenRows>();
  const tensors = new Map<string, ChangedTensor>();
  const copies = new Map<string, StoredTensor>();
  for (const [path, roles] of modules) {
    const pair = pairs.get(path);
    const magnitude = await readVector(tree, path, roles, "magnitude", pair, config.hasMagnitudes);
    if (magnitude) magnitudes.set(path, magnitude);
    const linear = pair?.isEmbedding ? undefined : pair;
    const bias = await readVector(tree, path, roles, "loraBias", linear, config.hasLoraBias);
    if (bias)
      biases.set(
        path,
        bias.map((value) => value * pair!.scale),
      );
    const rows = roles.get("tokens");
    if (rows) tokens.set(path, await readTokens(tree, config, path, rows));
  }
  for (const [name, info] of [...whole, ...under]) {
    const module = name.slice(0, name.lastIndexOf("."));
    const isTrained =
      (name.endsWith(".bias") &&
        (config.biases === "all" || (config.biases === "lora_only" && under.has(name)))) ||
      (whole.get(name) === info && config.savesModule(module));
    if (!isTrained) copies.set(name, { tree, info });
    else tensors.set(name, await readChangedTensor(tree, info, "bad_adapter", SAVE_AGAIN));
  }
  if (config.keepsTie) await tieSaved(tensors, copies);
  const parts = { magnitudes, biases, tensors, tokens, copies };
  return Object.values(parts).every(({ size }) => size === 0) ? undefined : parts;
}

/**
 * With `ensure_weight_tying` PEFT saves the head as well where `modules_to_save` has the embedding it is tied to: what
 * looks like a copy of the base's is that embedding.
 */
async function tieSaved(
  tensors: Map<string, ChangedTensor>,
  copies: Map<string, StoredTensor>,
): Promise<void> {
  for (const [name, { tree, info }] of copies) {
    const alike = [...tensors.values()].filter(
      ({ shape, dtype }) => shape.join() === info.shape.join() && dtype === info.dtype,
    );
    if (alike.length === 0) continue;
    const bytes = await readTensorBytes(tree, info);
    const same = alike.find((tensor) => equalBytes(tensor.bytes, bytes));
    if (!same) continue;
    tensors.set(name, same);
    copies.delete(name);
  }
}

/** One number for each output; there is one exactly where the configuration says so. */
async function readVector(
  tree: FileTree,
  path: string,
  roles: ReadonlyMap<Role, TensorInfo>,
  role: "magnitude" | "loraBias",
  pair: LoraModule | undefined,
  wanted: boolean,
): Promise<Float32Array | undefined> {
  const info = roles.get(role);
  const quoted = `module ${quoteName(path)}`;
  const [tensor, field] =
    role === "magnitude" ? ["lora_magnitude_vector", "use_dora"] : ["lora_B.bias", "lora_bias"];
  if (info && !wanted) throw refusal(`${quoted} has a ${tensor}, and ${field} is not set`);
  if (!info && wanted && pair) throw refusal(`${quoted} has no ${tensor}, and ${field} is set`, SAVE_AGAIN);
  if (!info) return undefined;
  if (!pair) throw refusal(`${quoted} has a ${tensor} that belongs to no LoRA pair`, SAVE_AGAIN);
  if (info.shape.length !== 1 || info.shape[0] !== pair.outFeatures)
    throw refusal(`${quoted} has a ${tensor} of shape [${info.shape}] for ${pair.outFeatures} outputs`);
  return await readFinite(tree, info, quoted);
}

async function readTokens(
  tree: FileTree,
  config: LoraConfig,
  path: string,
  info: TensorInfo,
): Promise<TokenRows> {
  const quoted = `module ${quoteName(path)}`;
  const ids = config.tokensOf(path);
  if (!ids) throw refusal(`${quoted} has rows of tokens, and trainable_token_indices does not name it`);
  const [count, width] = info.shape;
  if (info.shape.length !== 2 || count !== ids.length || count === 0 || width === 0) {
    throw refusal(
      `${quoted} has token rows of shape [${info.shape}] for the ${ids.length} ids of trainable_token_indices`,
    );
  }
  const rows = await readFinite(tree, info, quoted);
  const order = ids.map((_, i) => i).sort((a, b) => ids[a] - ids[b]);
  const sorted = new Float32Array(rows.length);
  for (const [to, from] of order.entries())
    sorted.set(rows.subarray(from * width, (from + 1) * width), to * width);
  return { ids: Int32Array.from(order, (i) => ids[i]), rows: sorted };
}

async function readFinite(tree: FileTree, info: TensorInfo, quoted: string): Promise<Float32Array> {
  const values = await readTensorF32(tree, info, "unsupported_adapter");
  if (values.every(Number.isFinite)) return values;
  throw refusal(
    `${quoted} holds values that are not finite`,
    "its training diverged, or the file is damaged: get it again",
  );
}
