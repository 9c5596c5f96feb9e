/** What an adapter has besides its low-rank pairs: see lora-adapter.ts for the file that it is in. */

import { equalBytes } from "../base/bytes.ts";
import type { FileTree } from "../base/platform.ts";
import { type ChangedTensor, readChangedTensor, type TokenRows } from "./base-changes.ts";
import { quoteName } from "./json-file.ts";
import type { LoraConfig } from "./lora-config.ts";
import { readFinite, adapterRefusal, SAVE_AGAIN } from "./lora-files.ts";
import type { LoraModule } from "./lora-module.ts";
import type { Role, SortedTensors } from "./lora-tensors.ts";
import { readTensorBytes, type StoredTensor, type TensorInfo } from "./safetensors.ts";

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

/** Everything but the pairs; undefined if there is nothing. */
export async function readParts(
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
  if (info && !wanted) throw adapterRefusal(`${quoted} has a ${tensor}, and ${field} is not set`);
  if (!info && wanted && pair)
    throw adapterRefusal(`${quoted} has no ${tensor}, and ${field} is set`, SAVE_AGAIN);
  if (!info) return undefined;
  if (!pair) throw adapterRefusal(`${quoted} has a ${tensor} that belongs to no LoRA pair`, SAVE_AGAIN);
  if (info.shape.length !== 1 || info.shape[0] !== pair.outFeatures)
    throw adapterRefusal(
      `${quoted} has a ${tensor} of shape [${info.shape}] for ${pair.outFeatures} outputs`,
    );
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
  if (!ids)
    throw adapterRefusal(`${quoted} has rows of tokens, and trainable_token_indices does not name it`);
  const [count, width] = info.shape;
  if (info.shape.length !== 2 || count !== ids.length || count === 0 || width === 0) {
    throw adapterRefusal(
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
