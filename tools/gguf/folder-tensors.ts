/** A checkpoint's tensors under llama.cpp's names, with what its converter does to them. */
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import type { Family } from "../../src/weights/gguf/families/family.ts";
import { pairsBesideEachOther, partsBehindEachOther } from "../../src/weights/gguf/row-orders.ts";
import { BARE, type JoinedExperts, type TensorNames } from "../../src/weights/gguf/tensor-names.ts";
import { readTensorF32 } from "../../src/weights/safetensors.ts";
import { pairNeighbours } from "./from-checkpoint.ts";

export type Config = Readonly<Record<string, unknown>>;

export interface Entries {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** @throws RangeError for a tensor that the family has no name for */
export async function weightsOf(checkpoint: Checkpoint, family: Family, config: Config): Promise<Entries[]> {
  const found: Entries[] = [];
  const experts = new Map<string, Map<number, Entries>>();
  for (const name of checkpoint.names) {
    const info = checkpoint.tensor(name);
    const tensor = { name, shape: info.shape, values: await readTensorF32(checkpoint.tree, info) };
    const place = placeOf(family.names, name);
    if (place === undefined) continue;
    if (place.stem !== undefined) {
      if (place.stem === "output" && config.tie_word_embeddings === true) continue;
      const { stem, part } = place;
      found.push({ ...converted(family, config, { stem, part }, tensor), name: place.name });
      continue;
    }
    const slices = expertOf(family.names, place, tensor);
    if (slices === undefined) throw new RangeError(`${name} has no name in GGUF`);
    for (const { target, index, entries } of slices) {
      if (!experts.has(target)) experts.set(target, new Map());
      experts.get(target)!.set(index, entries);
    }
  }
  for (const [name, each] of experts) {
    const all = [...each].sort(([a], [b]) => a - b).map(([, entries]) => entries);
    const values = new Float32Array(all.reduce((sum, { values }) => sum + values.length, 0));
    for (const [i, entries] of all.entries()) values.set(entries.values, i * entries.values.length);
    found.push({ name, shape: [all.length, ...all[0].shape], values });
  }
  return found;
}

/** Whether the family has a tensor for what is called so in a checkpoint, or needs none. */
export function hasName(family: Family, name: string): boolean {
  const place = placeOf(family.names, name);
  return place === undefined || place.stem !== undefined || family.names.experts !== undefined;
}

interface Place {
  /** In GGUF; of experts only the layer's number is known: "blk.3.". */
  readonly name: string;
  readonly stem?: string;
  /** Behind the layer's number, with its end. */
  readonly part: string;
}

/** undefined: what no model needs, as masks. */
function placeOf(names: TensorNames, name: string): Place | undefined {
  const isBare = [...BARE].some((bare) => name.endsWith(`.${bare}`));
  const [, stem, last] = isBare ? ["", name, "weight"] : (/^(.*)\.(weight|bias)$/.exec(name) ?? ["", name]);
  const inLayer = name.startsWith(`${names.layers}.`) ? name.slice(names.layers.length + 1) : undefined;
  const [, number, part] = /^(\d+)\.(.*)$/.exec(inLayer ?? "") ?? [];
  const known = (own: Readonly<Record<string, string | undefined>>, wanted: string) =>
    Object.entries(own).find(([, each]) => each === wanted)?.[0];
  if (number === undefined) {
    const global = known(names.global, stem);
    return last === undefined || global === undefined
      ? undefined
      : { name: `${global}.${last}`, stem: global, part: name };
  }
  const wanted = stem.slice(names.layers.length + number.length + 2);
  const own = known(names.layer, wanted);
  const prefix = `blk.${number}.`;
  // What is not called a weight or a bias there is not here either, but for these.
  const end = { ssm_a: "", ssm_dt: ".bias" }[own ?? ""] ?? `.${last}`;
  if (own !== undefined) return { name: `${prefix}${own}${end}`, stem: own, part };
  return last === undefined && names.experts === undefined ? undefined : { name: prefix, part };
}

function converted(
  family: Family,
  config: Config,
  { stem, part }: { readonly stem: string; readonly part: string },
  { shape, values }: Entries,
): Omit<Entries, "name"> {
  const heads = Number(config.num_attention_heads ?? config.n_head ?? config.n_heads);
  const kvHeads = keyValueHeadsOf(config, heads);
  const isVector = shape.length === 1;
  if (family.rowOrder === pairsBesideEachOther && (stem === "attn_q" || stem === "attn_k")) {
    return { shape, values: pairNeighbours(values, shape[0], stem === "attn_q" ? heads : kvHeads) };
  }
  if (family.rowOrder === partsBehindEachOther && stem === "attn_qkv") {
    return { shape, values: partsApart(values, shape[0], { heads, kvHeads }) };
  }
  if (part.includes("linear_attn.")) return deltaNet(config, stem, { shape, values });
  const plusOne = family.undo !== undefined && stem.endsWith("norm") && part.endsWith(".weight");
  if (plusOne) return { shape, values: values.map((w) => w + 1) };
  if (family.storedInOut?.has(stem) && !isVector) return transposed({ shape, values });
  return { shape: stem === "ffn_gate_inp_shexp" ? shape.slice(-1) : shape, values };
}

/** Qwen3.5's: value heads of one key head behind each other become the first of each key head, then the second … */
function deltaNet(
  config: Config,
  stem: string,
  { shape, values }: Omit<Entries, "name">,
): Omit<Entries, "name"> {
  const keys = Number(config.linear_num_key_heads);
  const perKey = Number(config.linear_num_value_heads) / keys;
  const valueDim = Number(config.linear_value_head_dim);
  const before = 2 * keys * Number(config.linear_key_head_dim);
  const regroup = (entries: Float32Array, first: number, size: number) => {
    const out = entries.slice();
    for (let key = 0; key < keys; key++)
      for (let j = 0; j < perKey; j++) {
        const from = first + (key * perKey + j) * size;
        out.set(entries.subarray(from, from + size), first + (j * keys + key) * size);
      }
    return out;
  };
  const width = values.length / shape[0];
  if (stem === "ssm_norm") return { shape, values };
  if (stem === "ssm_a")
    return {
      shape,
      values: regroup(
        values.map((log) => -Math.exp(log)),
        0,
        1,
      ),
    };
  if (stem === "attn_qkv") return { shape, values: regroup(values, before * width, valueDim * width) };
  if (stem === "ssm_conv1d") {
    return { shape: [shape[0], shape[2]], values: regroup(values, before * width, valueDim * width) };
  }
  if (stem === "attn_gate") return { shape, values: regroup(values, 0, valueDim * width) };
  if (stem !== "ssm_out") return { shape, values: regroup(values, 0, width) };
  const out = values.slice();
  for (let row = 0; row < shape[0]; row++)
    out.set(regroup(values.subarray(row * width, (row + 1) * width), 0, valueDim), row * width);
  return { shape, values: out };
}

/** Falcon and ChatGLM have other fields; BLOOM and GPT-NeoX have as many as heads, whatever theirs say. */
export function keyValueHeadsOf(config: Config, heads: number): number {
  const type = config.model_type;
  if (type === "bloom" || type === "gpt_neox") return heads;
  if (type === "chatglm") return Number(config.multi_query_group_num ?? heads);
  if (type !== "falcon") return Number(config.num_key_value_heads ?? heads);
  if (config.new_decoder_architecture === true) return Number(config.num_kv_heads ?? heads);
  return config.multi_query === false ? heads : 1;
}

/** Rows (group, q … q k v, size) as all of q, all of k, all of v. */
function partsApart(
  values: Float32Array,
  rows: number,
  { heads, kvHeads }: { readonly heads: number; readonly kvHeads: number },
): Float32Array {
  const size = rows / (heads + 2 * kvHeads);
  const chunk = (size * values.length) / rows;
  const perGroup = heads / kvHeads + 2;
  const parts: number[] = [];
  for (let group = 0; group < kvHeads; group++)
    for (let q = 0; q < perGroup - 2; q++) parts.push(group * perGroup + q);
  for (const part of [2, 1])
    for (let group = 1; group <= kvHeads; group++) parts.push(group * perGroup - part);
  const out = new Float32Array(values.length);
  for (const [to, from] of parts.entries())
    out.set(values.subarray(from * chunk, (from + 1) * chunk), to * chunk);
  return out;
}

function transposed({ shape, values }: Omit<Entries, "name">): Omit<Entries, "name"> {
  const [rows, columns] = shape;
  const out = Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
  return { shape: [columns, rows], values: out };
}

interface Slice {
  readonly target: string;
  readonly index: number;
  readonly entries: Entries;
}

/** "mlp.experts.3.up_proj.weight", or a tensor of all of them. */
function expertOf({ experts }: TensorNames, { name, part }: Place, tensor: Entries): Slice[] | undefined {
  if (experts === undefined) return undefined;
  if ("gateUp" in experts) return joinedOf(experts, name, part, tensor);
  const [, index, module] = /^(\d+)\.(.*)\.weight$/.exec(part.slice(experts.list.length + 1)) ?? [];
  const which = (["gate", "up", "down"] as const).find((each) => experts[each] === module);
  if (which === undefined) return undefined;
  return [{ target: `${name}ffn_${which}_exps.weight`, index: Number(index), entries: tensor }];
}

function joinedOf(
  experts: JoinedExperts,
  prefix: string,
  part: string,
  tensor: Entries,
): Slice[] | undefined {
  const { biases, isBare, storedInOut, inTurns } = experts;
  const end = isBare ? "" : ".weight";
  const which = [
    { is: experts.gateUp + end, last: "weight", both: true },
    { is: experts.down + end, last: "weight", both: false },
    { is: biases?.gateUp, last: "bias", both: true },
    { is: biases?.down, last: "bias", both: false },
  ].find(({ is }) => is === part);
  if (which === undefined) return undefined;
  const { last, both } = which;
  const isTurned = storedInOut === true && last === "weight";
  const each = tensor.values.length / tensor.shape[0];
  return Array.from({ length: tensor.shape[0] }, (_, index) => {
    const own = {
      shape: tensor.shape.slice(1),
      values: tensor.values.subarray(index * each, (index + 1) * each),
    };
    const entries = isTurned ? transposed(own) : own;
    const target = (name: string) => `${prefix}ffn_${name}_exps.${last}`;
    if (!both) return [{ target: target("down"), index, entries: { name: "", ...entries } }];
    const rows = entries.shape[0] / 2;
    const half = (first: number) => {
      const chosen = Array.from({ length: rows }, (_, i) => (inTurns ? 2 * i + first : first * rows + i));
      return { name: "", ...pickRows(entries, chosen) };
    };
    return [
      { target: target("gate"), index, entries: half(0) },
      { target: target("up"), index, entries: half(1) },
    ];
  }).flat();
}

function pickRows({ shape, values }: Omit<Entries, "name">, rows: readonly number[]): Omit<Entries, "name"> {
  const width = values.length / shape[0];
  const out = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) out.set(values.subarray(row * width, (row + 1) * width), i * width);
  return { shape: [rows.length, ...shape.slice(1)], values: out };
}
