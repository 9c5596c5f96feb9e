/**
 * Folders in the layouts of GPTQ and AWQ, of any checkpoint: round to nearest in groups. Their quantizers choose better
 * integers, the files have the same form.
 */
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf } from "../../src/base/bytes.ts";
import { linearPlaces } from "../../src/model/graph/write-decoder.ts";
import { describeDecoder } from "../../src/model/architectures/registry.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { toFloat16, widenF16 } from "../../src/base/float16.ts";
import { textModuleName } from "../../src/weights/text-module-name.ts";
import { encodeSafetensors, readTensorF32, type TensorToEncode } from "../../src/weights/safetensors.ts";

export interface PackingOptions {
  readonly method: "gptq" | "awq";
  readonly bits?: 4 | 8;
  /** -1: one for all inputs. */
  readonly groupSize: number;
  readonly symmetric?: boolean;
  /** Inputs are in groups in any order (GPTQ's desc_act). */
  readonly anyOrder?: boolean;
  readonly version?: "gptq" | "gptq_v2";
  /** A bias of zeros for each module, as old files have it. */
  readonly zeroBiases?: boolean;
  /** Of modules that are to stay as they are. */
  readonly except?: RegExp;
  /** Of modules that have this group size instead. */
  readonly otherGroups?: { readonly of: RegExp; readonly groupSize: number };
  /** Llama's: norms and up_proj's rows are divided by scales, what follows is multiplied by them, as AWQ's search does. */
  readonly smoothed?: boolean;
  /** Changes config.json. */
  readonly config?: (config: Record<string, unknown>) => void;
}

/** Integers of a matrix (out, in): w = s[group]·(q − z). */
export interface Rounded {
  readonly codes: Uint8Array;
  /** (out, groups) */
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
  readonly groupOf: Int32Array;
  readonly groups: number;
}

/** Which group each input is in: neighbours, or shuffled. */
function groupsOf(columns: number, size: number, anyOrder: boolean): Int32Array {
  const groups = Int32Array.from({ length: columns }, (_, k) => Math.floor(k / size));
  if (!anyOrder) return groups;
  // A fixed permutation: every step of a number that shares no factor with the length.
  let step = Math.floor(columns * 0.618) | 1;
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  while (gcd(step, columns) !== 1) step += 2;
  return groups.map((_, k) => groups[(k * step) % columns]);
}

export function roundMatrix(
  weights: Float32Array,
  columns: number,
  { bits = 4, groupSize, symmetric = true, anyOrder = false }: Omit<PackingOptions, "method">,
): Rounded {
  const rows = weights.length / columns;
  const size = groupSize === -1 ? columns : groupSize;
  const groups = Math.ceil(columns / size);
  const groupOf = groupsOf(columns, size, anyOrder);
  const most = 2 ** bits - 1;
  const codes = new Uint8Array(weights.length);
  const scales = new Float32Array(rows * groups);
  const zeros = new Uint8Array(rows * groups);
  for (let row = 0; row < rows; row++) {
    const low = new Float64Array(groups);
    const high = new Float64Array(groups);
    for (let k = 0; k < columns; k++) {
      const w = weights[row * columns + k];
      low[groupOf[k]] = Math.min(low[groupOf[k]], w);
      high[groupOf[k]] = Math.max(high[groupOf[k]], w);
    }
    for (let g = 0; g < groups; g++) {
      const bound = Math.max(-low[g], high[g]);
      const [from, to] = symmetric ? [-bound, bound] : [low[g], high[g]];
      const [scale] = widenF16(toFloat16([to > from ? (to - from) / most : 1]));
      scales[row * groups + g] = scale;
      zeros[row * groups + g] = symmetric
        ? 2 ** (bits - 1)
        : Math.min(most, Math.max(0, Math.round(-from / scale)));
    }
    for (let k = 0; k < columns; k++) {
      const g = row * groups + groupOf[k];
      const code = Math.round(weights[row * columns + k] / scales[g]) + zeros[g];
      codes[row * columns + k] = Math.min(most, Math.max(0, code));
    }
  }
  return { codes, scales, zeros, groupOf, groups };
}

/** (out, in) row-major, in float32. */
export function numbersOf({ codes, scales, zeros, groupOf, groups }: Rounded): Float32Array {
  const columns = groupOf.length;
  return Float32Array.from(codes, (code, i) => {
    const g = Math.floor(i / columns) * groups + groupOf[i % columns];
    return scales[g] * (code - zeros[g]);
  });
}

const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

/** The tensors of a module, by the layouts' definitions (src/weights/packed/packed-module.ts). */
export function packTensors(
  name: string,
  rounded: Rounded,
  { method, bits = 4, version = "gptq" }: Pick<PackingOptions, "method" | "bits" | "version">,
): TensorToEncode[] {
  const { codes, scales, zeros, groupOf, groups } = rounded;
  const columns = groupOf.length;
  const rows = codes.length / columns;
  const fields = 32 / bits;
  const put = (words: Uint32Array, word: number, field: number, value: number) => {
    words[word] |= value << (bits * field);
  };
  const qweight = new Uint32Array((rows * columns) / fields);
  const qzeros = new Uint32Array((groups * rows) / fields);
  const fieldOf = (n: number) => (method === "awq" ? AWQ_ORDER.indexOf(n % 8) : n % fields);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      const code = codes[n * columns + k];
      if (method === "awq") put(qweight, (k * rows + n - (n % 8)) / 8, fieldOf(n), code);
      else put(qweight, Math.floor(k / fields) * rows + n, k % fields, code);
    }
    for (let g = 0; g < groups; g++)
      put(qzeros, (g * rows + n - (n % fields)) / fields, fieldOf(n), zeros[n * groups + g]);
  }
  if (method === "gptq" && version === "gptq") {
    for (const i of qzeros.keys()) qzeros[i] -= bits === 4 ? 0x11111111 : 0x01010101;
  }
  const turned = Float32Array.from(
    { length: groups * rows },
    (_, i) => scales[(i % rows) * groups + Math.floor(i / rows)],
  );
  const shape = method === "awq" ? [columns, rows / 8] : [columns / fields, rows];
  const tensor = (part: string, dtype: TensorToEncode["dtype"], shape: number[], data: ArrayBufferView) => ({
    ...{ name: `${name}.${part}`, dtype, shape },
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
  return [
    tensor("qweight", "I32", shape, qweight),
    tensor("qzeros", "I32", [groups, rows / fields], qzeros),
    tensor("scales", "F16", [groups, rows], toFloat16(turned)),
    ...(method === "gptq" ? [tensor("g_idx", "I32", [columns], groupOf)] : []),
  ];
}

/** quantization_config as the quantizer writes it. */
export function quantizationConfig(options: PackingOptions): Record<string, unknown> {
  const { method, bits = 4, groupSize, symmetric = true, anyOrder = false, version = "gptq" } = options;
  return method === "awq"
    ? { quant_method: "awq", bits, group_size: groupSize, version: "gemm", zero_point: true }
    : {
        ...{ quant_method: "gptq", bits, group_size: groupSize, sym: symmetric, desc_act: anyOrder },
        ...(version === "gptq" ? {} : { checkpoint_format: version }),
      };
}

/** The scales of a module of a smoothed Llama: what its columns and its rows are multiplied with. */
export function smoothingOf(
  module: string,
  [rows, columns]: readonly number[],
): { readonly s: Float64Array; readonly r: Float64Array } {
  const scales = (length: number, seed: number) =>
    Float64Array.from({ length }, (_, i) => 2 ** Math.sin(i * 1.3 + seed));
  const layer = Number(/layers\.(\d+)\./.exec(module)?.[1]);
  const behindNorm = /\.(q|k|v)_proj$/.test(module) ? 1 : /\.(gate|up)_proj$/.test(module) ? 2 : undefined;
  const seed = module.endsWith("down_proj") ? 3 : behindNorm;
  const s = seed === undefined ? new Float64Array(columns).fill(1) : scales(columns, layer + 10 * seed);
  const r = new Float64Array(rows).fill(1);
  if (module.endsWith("up_proj")) r.set(scales(rows, layer + 30).map((scale) => 1 / scale));
  return { s, r };
}

function smooth(name: string, shape: readonly number[], values: Float32Array): Float32Array {
  const layer = /^model\.layers\.\d+\./.exec(name)?.[0];
  if (layer === undefined) return values;
  const follows = { input_layernorm: "self_attn.q_proj", post_attention_layernorm: "mlp.gate_proj" };
  for (const [norm, module] of Object.entries(follows)) {
    if (!name.endsWith(`${norm}.weight`)) continue;
    const { s } = smoothingOf(layer + module, [1, values.length]);
    return values.map((w, i) => w / s[i]);
  }
  if (shape.length !== 2) return values;
  const { s, r } = smoothingOf(name.replace(/\.weight$/, ""), shape);
  return values.map((w, i) => w * s[i % shape[1]] * r[Math.floor(i / shape[1])]);
}

/**
 * Writes two folders beside each other: the packed one, and one with the same numbers in F32. Norms, biases, embeddings and
 * the head are F16, as quantizers write them.
 */
export async function writePacked(
  base: string,
  dir: string,
  options: PackingOptions,
): Promise<{ readonly packed: string; readonly numbers: string }> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const { method, except, otherGroups, zeroBiases, config: change } = options;
  const places = linearPlaces(describeDecoder(checkpoint)).filter(
    ({ isHead, isEmbedding, exact }) => !isHead && !isEmbedding && !exact,
  );
  const modules = new Set(places.flatMap(({ modules }) => modules));
  const packed: TensorToEncode[] = [];
  const numbers: TensorToEncode[] = [];
  for (const name of checkpoint.names) {
    const info = checkpoint.tensor(name);
    const read = await readTensorF32(checkpoint.tree, info);
    const values = options.smoothed ? smooth(name, info.shape, read) : read;
    const module = name.replace(/\.weight$/, "");
    const isPacked = modules.has(module) || modules.has(textModuleName(name).replace(/\.weight$/, ""));
    // Quantizers leave out what does not fill words.
    const isWhole = info.shape.every((size) => size % 8 === 0);
    if (!isPacked || !isWhole || except?.test(module) || name.endsWith(".bias")) {
      const half = { name, dtype: "F16" as const, shape: info.shape, data: bytesOf(toFloat16(values)) };
      packed.push(half);
      numbers.push(half);
      continue;
    }
    const own = otherGroups?.of.test(module) ? { ...options, groupSize: otherGroups.groupSize } : options;
    const rounded = roundMatrix(values, info.shape[1], method === "awq" ? { ...own, symmetric: false } : own);
    packed.push(...packTensors(module, rounded, options));
    numbers.push({ name, dtype: "F32", shape: info.shape, data: bytesOf(numbersOf(rounded)) });
    if (zeroBiases && !checkpoint.has(`${module}.bias`)) {
      const [out] = info.shape;
      packed.push({ name: `${module}.bias`, dtype: "F16", shape: [out], data: new Uint8Array(2 * out) });
    }
  }
  const write = (folder: string, tensors: TensorToEncode[], quantization?: object): string => {
    mkdirSync(folder, { recursive: true });
    cpSync(base, folder, { recursive: true });
    for (const file of readdirSync(folder)) if (/^model.*safetensors/.test(file)) rmSync(join(folder, file));
    const config: Record<string, unknown> = {
      ...checkpoint.config,
      ...(quantization && { quantization_config: quantization }),
    };
    if (quantization) change?.(config);
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    writeFileSync(join(folder, "model.safetensors"), encodeSafetensors(tensors));
    return folder;
  };
  return {
    packed: write(join(dir, "packed"), packed, quantizationConfig(options)),
    numbers: write(join(dir, "numbers"), numbers),
  };
}
