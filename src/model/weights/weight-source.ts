/** Where a forward pass has its weights from: the checkpoint itself, or a quantized copy of it. */

import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { BlockForm } from "../../weights/quantize-blocks.ts";
import type { StoredTensor, TensorInfo } from "../../weights/safetensors.ts";

export type { StoredTensor };

/** How weights are held: as in the checkpoint, or rounded in blocks to 8 or 4 bits. */
export type WeightFormat = "original" | "int8" | "int4";

/** A matrix (Σ outFeatures, inFeatures) that vectors are multiplied with, of one tensor or several on each other. */
export interface Matrix {
  readonly tensors: readonly string[];
  readonly outFeatures: readonly number[];
  readonly inFeatures: number;
  /** The tensors are stored (in, out). Default: (out, in). */
  readonly storedInOut?: boolean;
  /** The one that makes the logits: what is rounded there shows in every token's probability. */
  readonly isHead?: boolean;
  /** Never rounded: small, and what it decides is not gradual, as an expert is chosen or is not. */
  readonly exact?: boolean;
}

/** The operands of MatMulNBits. */
export interface QuantizedMatrix {
  readonly tree: FileTree;
  readonly form: BlockForm;
  /** U8 (out, blocks, block·bits/8) */
  readonly codes: TensorInfo;
  /** F32 (out, blocks) */
  readonly scales: TensorInfo;
  /** U8 (out, ⌈blocks·bits/8⌉), where the form has them. */
  readonly zeroPoints?: TensorInfo;
}

export interface WeightSource {
  /** @throws TacetError bad_checkpoint if there is none of this name and shape */
  tensor(name: string, shape: readonly number[]): StoredTensor;
  /** undefined: it is multiplied as it is. */
  quantized(matrix: Matrix): QuantizedMatrix | undefined;
}

export function originalWeights(checkpoint: Checkpoint): WeightSource {
  return {
    tensor(name, shape) {
      const { tree } = checkpoint;
      const [, whole, index, count] = SLICE.exec(name) ?? [];
      if (whole === undefined) {
        const info = checkpoint.tensor(name);
        checkShape(info, shape);
        return { tree, info };
      }
      const info = checkpoint.tensor(whole);
      checkShape(info, [Number(count), ...shape]);
      const bytes = info.bytes / Number(count);
      const slice = { ...info, name, shape, bytes, offset: info.offset + Number(index) * bytes };
      const { rounded } = info;
      if (!rounded) return { tree, info: slice };
      const start = Number(index) * shape[rounded.storedInOut ? 1 : 0];
      const readRows = (first: number, rows: number) => rounded.readRows(start + first, rows);
      return { tree, info: { ...slice, rounded: { ...rounded, readRows } } };
    },
    quantized: () => undefined,
  };
}

/** "experts.weight[3/8]" */
const SLICE = /^(.*)\[(\d+)\/(\d+)\]$/;

/** Names entry `index` of a tensor of `count` of them, (count, …): weight sources give it as a tensor by itself. */
export function sliceName(tensor: string, index: number, count: number): string {
  return `${tensor}[${index}/${count}]`;
}

/** The shape of each of a matrix's tensors. */
export function storedShape({ outFeatures, inFeatures, storedInOut }: Matrix, index: number): number[] {
  const out = outFeatures[index];
  return storedInOut ? [inFeatures, out] : [out, inFeatures];
}

export function rowsOf({ outFeatures }: Matrix): number {
  return outFeatures.reduce((sum, out) => sum + out, 0);
}

/** @throws TacetError bad_checkpoint */
function checkShape({ name, path, shape }: TensorInfo, wanted: readonly number[]): void {
  if (shape.length === wanted.length && shape.every((size, axis) => size === wanted[axis])) return;
  throw new TacetError(
    "bad_checkpoint",
    `${path}: tensor ${quoteName(name)} has shape [${shape}], config.json wants [${wanted}]`,
    { hint: "config.json and the weights do not belong together: download both again" },
  );
}
