/** Which weights a forward pass uses, collected by a dry run of the graph writer. */

import type { QuantizedBits } from "../../weights/quantize-blocks.ts";
import { blocksOf, bytesOfBlock } from "../../weights/quantize-blocks.ts";
import type { Dtype, TensorInfo } from "../../weights/safetensors.ts";
import {
  type Matrix,
  rowsOf,
  type StoredTensor,
  storedShape,
  type WeightFormat,
  type WeightSource,
} from "./weight-source.ts";

/** A matrix with the bits it gets, 0: it stays as it is. */
export interface DemandedMatrix {
  readonly matrix: Matrix;
  readonly bits: QuantizedBits | 0;
  readonly parts: readonly StoredTensor[];
}

/** What was asked for, each once. */
export interface WeightDemand {
  readonly matrices: readonly DemandedMatrix[];
  /** Tensors that are used as they are, except matrices: embeddings, norms, biases. */
  readonly tensors: readonly StoredTensor[];
}

/** The layers' matrices get the bits of the format; the head has 8 also with int4. */
export function bitsOf(format: WeightFormat, { isHead = false, exact = false }: Matrix): QuantizedBits | 0 {
  if (format === "original" || exact) return 0;
  return format === "int8" || isHead ? 8 : 4;
}

/**
 * @param write writes the pass with the source it is given
 * @throws TacetError bad_checkpoint for a tensor that is missing or has another shape; what `write` throws
 */
export function weightDemand(
  original: WeightSource,
  format: WeightFormat,
  write: (source: WeightSource) => void,
): WeightDemand {
  const matrices = new Map<string, DemandedMatrix>();
  const tensors = new Map<string, StoredTensor>();
  const tensor = (name: string, shape: readonly number[]): StoredTensor => {
    const stored = original.tensor(name, shape);
    tensors.set(name, stored);
    return stored;
  };
  write({
    tensor,
    quantized(matrix) {
      const bits = bitsOf(format, matrix);
      const parts = matrix.tensors.map((name, i) => original.tensor(name, storedShape(matrix, i)));
      matrices.set(matrixName(matrix), { matrix, bits, parts });
      // Beside rounded matrices a copy keeps it as it is.
      if (format !== "original" && bits === 0) {
        for (const [i, name] of matrix.tensors.entries()) tensor(name, storedShape(matrix, i));
      }
      // Nobody opens them: the operands only have to be there for the pass to be written.
      const { tree, info } = parts[0];
      return { tree, bits: bits || 8, ...placeholders(matrix, bits || 8, info.path) };
    },
  });
  return { matrices: [...matrices.values()], tensors: [...tensors.values()] };
}

/** Names a matrix by its tensors. */
export function matrixName({ tensors }: Matrix): string {
  return tensors.join("+");
}

/** Shapes of a quantized matrix's operands. */
export function quantizedShapes(
  matrix: Matrix,
  bits: QuantizedBits,
): { readonly codes: readonly number[]; readonly scales: readonly number[] } {
  const [rows, blocks] = [rowsOf(matrix), blocksOf(matrix.inFeatures)];
  return { codes: [rows, blocks, bytesOfBlock(bits)], scales: [rows, blocks] };
}

function placeholders(
  matrix: Matrix,
  bits: QuantizedBits,
  path: string,
): { codes: TensorInfo; scales: TensorInfo } {
  const shapes = quantizedShapes(matrix, bits);
  const info = (dtype: Dtype, shape: readonly number[]): TensorInfo => ({
    name: matrixName(matrix),
    dtype,
    shape,
    path,
    offset: 0,
    bytes: 0,
  });
  return { codes: info("U8", shapes.codes), scales: info("F32", shapes.scales) };
}
