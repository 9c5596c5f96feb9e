/**
 * What an adapter changes of its base model besides adding B·A·x: tensors that take the place of the base's, rows of an
 * embedding, biases, and row scales (DoRA). Whoever runs the base model must have these: they cannot stay private.
 *
 *   y = s ⊙ (W·x + delta) + b + b_added        for a linear module
 *   h = s ⊙ (E[id] + delta)                    for an embedding, s over the features
 */
import { type ErrorCode, TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { quoteName } from "./json-file.ts";
import { type Dtype, readTensorBytes, type TensorInfo, widenTensor } from "./safetensors.ts";

/** A tensor in memory, as it is stored. */
export interface ChangedTensor {
  readonly dtype: Extract<Dtype, "F32" | "F16" | "BF16">;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly bytes: Uint8Array;
}

/** Rows of an embedding, or of a head, that take the place of the base's. */
export interface TokenRows {
  /** Distinct, ascending. */
  readonly ids: Int32Array;
  /** (ids.length, width) row-major. */
  readonly rows: Float32Array;
}

export interface BaseChanges {
  /** By the name that the forward pass knows the tensor by: module and ".weight" or ".bias". */
  readonly tensors: ReadonlyMap<string, ChangedTensor>;
  /** By module: an embedding or a head. */
  readonly tokens: ReadonlyMap<string, TokenRows>;
  /** s by module, (outFeatures). */
  readonly scales: ReadonlyMap<string, Float32Array>;
  /** b_added by module, (outFeatures). */
  readonly biases: ReadonlyMap<string, Float32Array>;
}

export const NO_CHANGES: BaseChanges = Object.freeze({
  tensors: new Map(),
  tokens: new Map(),
  scales: new Map(),
  biases: new Map(),
});

export function isUnchanged({ tensors, tokens, scales, biases }: BaseChanges): boolean {
  return tensors.size + tokens.size + scales.size + biases.size === 0;
}

/** The entries as float32. */
export function valuesOf({ dtype, bytes }: ChangedTensor): Float32Array {
  return widenTensor(dtype, bytes);
}

/** @throws TacetError `code` if it is stored as something else than numbers of 16 or 32 bits, or is not finite */
export async function readChangedTensor(
  tree: FileTree,
  info: TensorInfo,
  code: ErrorCode,
  hint: string,
): Promise<ChangedTensor> {
  const { dtype, shape, name, path } = info;
  const refuse = (what: string): TacetError =>
    new TacetError(code, `${path}: tensor ${quoteName(name)} ${what}`, { hint });
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") throw refuse(`is stored as ${dtype}`);
  const tensor: ChangedTensor = { dtype, shape, bytes: await readTensorBytes(tree, info) };
  if (!valuesOf(tensor).every(Number.isFinite)) throw refuse("holds values that are not finite");
  return tensor;
}
