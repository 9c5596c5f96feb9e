/** Whether a model will fit into memory, before it is loaded. */

import { TacetError } from "../base/errors.ts";
import type { TensorRuntime } from "../base/platform.ts";
import { blocksOf, bytesOfBlock } from "../weights/quantize-blocks.ts";
import { bytesOfToken, type CacheShape } from "./graph/pass-values.ts";
import { mostStateBytes } from "./layer-states.ts";
import { chooseForms } from "./weights/block-forms.ts";
import type { WeightDemand } from "./weights/weight-demand.ts";
import { rowsOf, type WeightFormat } from "./weights/weight-source.ts";

/** Bytes, without files that are only mapped: the system takes those back when it needs the memory. */
export interface MemoryNeed {
  readonly weights: number;
  /** Of these, what is in blocks of small integers. */
  readonly rounded: number;
  /** More while it is loaded: the runtime packs one matrix after the other, and has the largest twice. */
  readonly loading: number;
  /** Keys and values of a full context. */
  readonly cache: number;
}

/** Of the runtime's packed form of a block: its scale, and the sum of its codes times it. */
const PACKED_BLOCK_BYTES = 8;

/**
 * weights = 4 bytes for each entry of a matrix in float32, else block·bits/8 + 8 for each block (docs/models.md, measured);
 * tables that rows are looked up in stay in the file. cache = Σ 2·kvHeads·headDim·4 over the layers, times tokens, and states (layer-states.ts).
 */
export function memoryNeed(
  { matrices, tensors }: WeightDemand,
  format: WeightFormat,
  cache: CacheShape,
): MemoryNeed {
  let weights = 0;
  let rounded = 0;
  let loading = 0;
  const forms = chooseForms(format, matrices);
  for (const [i, { matrix }] of matrices.entries()) {
    const form = forms[i];
    const rows = rowsOf(matrix);
    if (form === undefined) weights += 4 * rows * matrix.inFeatures;
    else rounded += rows * blocksOf(matrix.inFeatures, form) * (bytesOfBlock(form) + PACKED_BLOCK_BYTES);
    // What is packed from a mapped file is not there twice; a matrix that was widened or joined first is.
    if (form === undefined) loading = Math.max(loading, 4 * rows * matrix.inFeatures);
  }
  for (const { info } of tensors) if (info.shape.length < 2) weights += info.bytes;
  const full = bytesOfToken(cache) * cache.maxTokens + mostStateBytes(cache);
  return { weights: weights + rounded, rounded, loading, cache: full };
}

/** The cache grows when nothing is loaded any more, so the larger of the two counts. */
function most({ weights, loading, cache }: MemoryNeed): number {
  return weights + Math.max(loading, cache);
}

/** @throws TacetError out_of_memory with the figures, where the runtime knows how much memory there is */
export async function checkMemory(
  runtime: TensorRuntime,
  demand: WeightDemand,
  format: WeightFormat,
  cache: CacheShape,
): Promise<void> {
  const isApart = runtime.roundedMemory !== undefined;
  if (isApart) checkRounded(demand, format, await runtime.roundedMemory!());
  const available = await runtime.availableMemory?.();
  if (available === undefined) return;
  const needOf = (format: WeightFormat): MemoryNeed => {
    const need = memoryNeed(demand, format, cache);
    return isApart ? { ...need, weights: need.weights - need.rounded, rounded: 0 } : need;
  };
  const need = needOf(format);
  if (most(need) <= available) return;
  const parts =
    `${gigabytes(need.weights)} for ${weightsNamed(demand, format)}` +
    `, then ${gigabytes(need.cache)} for the keys and values of ${cache.maxTokens} tokens` +
    (need.loading > 0 ? ` (${gigabytes(need.loading)} more while it is loaded)` : "");
  throw new TacetError(
    "out_of_memory",
    `the model needs ${gigabytes(most(need))} of memory, ${gigabytes(available)} are available: ${parts}`,
    { hint: hintOf(needOf, format, cache, available) },
  );
}

/** @throws TacetError out_of_memory if rounded weights are more than the memory that is there for them */
function checkRounded(demand: WeightDemand, format: WeightFormat, available: number | undefined): void {
  const of = (format: WeightFormat) => memoryNeed(demand, format, NO_CACHE).rounded;
  if (available === undefined || of(format) <= available) return;
  const fits = format === "int8" && of("int4") <= available;
  throw new TacetError(
    "out_of_memory",
    `${weightsNamed(demand, format)} take ${gigabytes(of(format))} of memory, ${gigabytes(available)} are available`,
    {
      hint: fits
        ? `--weights int4 (option weights) needs ${gigabytes(of("int4"))}`
        : "take a smaller model or a larger machine",
    },
  );
}

const NO_CACHE: CacheShape = { layers: [], maxTokens: 0 };

function weightsNamed({ matrices }: WeightDemand, format: WeightFormat): string {
  if (format !== "original") return `${format} weights`;
  return matrices.some(({ form }) => form) ? "its weights as they are stored" : "its weights in float32";
}

/** What would help, tried in turn. */
function hintOf(
  needOf: (format: WeightFormat) => MemoryNeed,
  format: WeightFormat,
  cache: CacheShape,
  available: number,
): string {
  const smaller = (["int8", "int4"] as const).slice(format === "original" ? 0 : format === "int8" ? 1 : 2);
  for (const other of smaller) {
    const need = needOf(other);
    if (most(need) <= available) return `--weights ${other} (option weights) needs ${gigabytes(most(need))}`;
  }
  const least = smaller.at(-1) ?? format;
  const { weights, loading, cache: bytes } = needOf(least);
  const fitting = Math.floor(((available - weights) / bytes) * cache.maxTokens);
  if (fitting < 1 || weights + loading > available)
    return "close other programs, or take a smaller model or a larger machine";
  const weightsToo = least === format ? "" : `--weights ${least} and `;
  return `${weightsToo}a context of at most ${fitting} tokens (--context-length, option contextLength) would fit`;
}

function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
