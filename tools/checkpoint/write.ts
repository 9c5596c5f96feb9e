/** Writes seeded random checkpoints and adapters to disk, a block at a time. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { encodeValues, SeededValues, type StorageType } from "./seeded-values.ts";
import { configOf, type Shape } from "./shapes.ts";
import { adapterTensors, type TensorSpec, tensorsOf } from "./tensors.ts";

const TORCH_DTYPES: Record<StorageType, string> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

export interface CheckpointOptions {
  readonly type?: StorageType;
  /** Files that the tensors are spread over. */
  readonly shards?: number;
  readonly seed?: string;
  readonly onProgress?: (fraction: number) => void;
}

/** Makes folder `out` in the Hugging Face layout (no tokenizer); it appears when it is complete. */
export function writeCheckpoint(out: string, shape: Shape, options: CheckpointOptions = {}): void {
  const { type = "F32", shards = 1, seed = "tacet", onProgress = () => {} } = options;
  const { tensors } = tensorsOf(shape);
  const total = sumOf(tensors, type);
  let done = 0;
  const count = (bytes: number) => onProgress((done += bytes) / total);
  const values = new SeededValues(seed, type);
  const files = spread(tensors, type, shards);
  whenComplete(out, (folder) => {
    writeJson(join(folder, "config.json"), configOf(shape, TORCH_DTYPES[type]));
    if (files.length === 1) {
      writeSafetensors(join(folder, "model.safetensors"), files[0], values, type, count);
      return;
    }
    const weightMap: Record<string, string> = {};
    files.forEach((part, i) => {
      const number = (n: number) => String(n).padStart(5, "0");
      const name = `model-${number(i + 1)}-of-${number(files.length)}.safetensors`;
      for (const tensor of part) weightMap[tensor.name] = name;
      writeSafetensors(join(folder, name), part, values, type, count);
    });
    const index = { metadata: { total_size: total }, weight_map: weightMap };
    writeJson(join(folder, "model.safetensors.index.json"), index);
  });
}

export interface AdapterOptions {
  /** The last part of the modules' names: "q_proj". */
  readonly modules: readonly string[];
  readonly rank?: number;
  /** Default: twice the rank. */
  readonly alpha?: number;
  /** What it adds to a module's output, as a part of that output's standard deviation. Default: 0.4. */
  readonly part?: number;
  readonly type?: StorageType;
  readonly seed?: string;
}

/**
 * Makes folder `out` in the PEFT layout for a model of this shape.
 * @throws RangeError for a module that the family does not have
 */
export function writeAdapter(out: string, shape: Shape, options: AdapterOptions): void {
  const { modules, rank = 8, alpha = 2 * rank, part, type = "F32", seed = "tacet-adapter" } = options;
  const { linears, fanInFanOut } = tensorsOf(shape);
  const lastPart = (name: string) => name.slice(name.lastIndexOf(".") + 1);
  const known = [...new Set(linears.map(({ name }) => lastPart(name)))];
  const unknown = modules.find((name) => !known.includes(name));
  if (unknown !== undefined || modules.length === 0)
    throw new RangeError(`${shape.family} has no module ${unknown ?? ""}: it has ${known.join(", ")}`);
  const chosen = linears.filter(({ name }) => modules.includes(lastPart(name)));
  const tensors = adapterTensors(chosen, rank, alpha / rank, part);
  whenComplete(out, (folder) => {
    writeJson(join(folder, "adapter_config.json"), {
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: `${shape.family}-seeded`,
      r: rank,
      lora_alpha: alpha,
      lora_dropout: 0,
      target_modules: modules,
      bias: "none",
      fan_in_fan_out: fanInFanOut,
      inference_mode: true,
      init_lora_weights: true,
      modules_to_save: null,
      rank_pattern: {},
      alpha_pattern: {},
      use_rslora: false,
      use_dora: false,
    });
    const values = new SeededValues(seed, type);
    writeSafetensors(join(folder, "adapter_model.safetensors"), tensors, values, type, () => {});
  });
}

/**
 * Runs `fill` in the folder `out`.partial, which then takes its name. What an interrupted run left there is removed by
 * the next one.
 * @throws RangeError if `out` exists
 */
function whenComplete(out: string, fill: (folder: string) => void): void {
  if (existsSync(out)) throw new RangeError(`${out} exists`);
  const partial = `${out}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    fill(partial);
    renameSync(partial, out);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`);
}

const entries = ({ shape }: TensorSpec) => shape.reduce((product, dim) => product * dim, 1);
const bytesOfSpec = (spec: TensorSpec, type: StorageType) => entries(spec) * (type === "F32" ? 4 : 2);
const sumOf = (specs: readonly TensorSpec[], type: StorageType) =>
  specs.reduce((sum, spec) => sum + bytesOfSpec(spec, type), 0);

/** In order, into at most `shards` files of about equal size. */
function spread(tensors: readonly TensorSpec[], type: StorageType, shards: number): TensorSpec[][] {
  const most = sumOf(tensors, type) / shards;
  const files: TensorSpec[][] = [[]];
  let end = 0;
  for (const tensor of tensors) {
    if (end >= most * files.length && files.length < shards) files.push([]);
    files[files.length - 1].push(tensor);
    end += bytesOfSpec(tensor, type);
  }
  return files;
}

function writeSafetensors(
  path: string,
  specs: readonly TensorSpec[],
  values: SeededValues,
  type: StorageType,
  onBytes: (bytes: number) => void,
): void {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const spec of specs) {
    const data_offsets = [end, (end += bytesOfSpec(spec, type))];
    header[spec.name] = { dtype: type, shape: spec.shape, data_offsets };
  }
  let json = JSON.stringify(header);
  json += " ".repeat(-Buffer.byteLength(json) & 7);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  const file = openSync(path, "wx");
  try {
    writeAll(file, Buffer.concat([prefix, Buffer.from(json)]));
    for (const spec of specs) {
      const { name, mean, std, values: given } = spec;
      const blocks = given ? [encodeValues(given, type)] : values.blocks(name, entries(spec), mean, std);
      for (const block of blocks) {
        writeAll(file, block);
        onBytes(block.length);
      }
    }
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
