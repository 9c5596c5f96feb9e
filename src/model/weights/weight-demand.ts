/** Which weights a forward pass uses, collected by a dry run of the graph writer. */

import { type BlockForm, blocksOf, bytesOfBlock, zeroPointBytes } from "../../weights/quantize-blocks.ts";
import type { Dtype, TensorInfo } from "../../weights/safetensors.ts";
import { chooseForms } from "./block-forms.ts";
import {
  type Matrix,
  rowsOf,
  type StoredTensor,
  storedShape,
  type WeightFormat,
  type WeightSource,
} from "./weight-source.ts";

/** A matrix with the form it gets, undefined: it stays as it is. */
export interface DemandedMatrix {
  readonly matrix: Matrix;
  readonly form: BlockForm | undefined;
  readonly parts: readonly StoredTensor[];
}

/** What was asked for, each once. */
export interface WeightDemand {
  readonly matrices: readonly DemandedMatrix[];
  /** Tensors that are used as they are, except matrices: embeddings, norms, biases. */
  readonly tensors: readonly StoredTensor[];
  /** A pass opens a copy with all of them: some are rounded, or are nowhere as they are used. */
  readonly isCopied: boolean;
}

/**
 * @param write writes the pass with the source it is given
 * @param mustCopy the runtime cannot open the tensors where they are
 * @throws TacetError bad_checkpoint for a tensor that is missing or has another shape; what `write` throws
 */
export function weightDemand(
  original: WeightSource,
  format: WeightFormat,
  write: (source: WeightSource) => void,
  mustCopy: boolean,
): WeightDemand {
  const matrices = new Map<string, Pick<DemandedMatrix, "matrix" | "parts">>();
  const tensors = new Map<string, StoredTensor>();
  const tensor = (name: string, shape: readonly number[]): StoredTensor => {
    const stored = original.tensor(name, shape);
    tensors.set(name, stored);
    return stored;
  };
  write({
    tensor,
    quantized(matrix) {
      const parts = matrix.tensors.map((name, i) => original.tensor(name, storedShape(matrix, i)));
      matrices.set(matrixName(matrix), { matrix, parts });
      // Nobody opens them: the operands only have to be there for the pass to be written.
      return { tree: parts[0].tree, form: ANY_FORM, ...placeholders(matrix, parts[0].info.path) };
    },
  });
  const found = [...matrices.values()];
  const forms = chooseForms(format, found);
  const demanded = found.map((each, i) => ({ ...each, form: forms[i] }));
  const isCopied = mustCopy || forms.some((form) => form !== undefined);
  // Beside rounded matrices a copy keeps the others as they are.
  if (isCopied) {
    for (const { matrix, form } of demanded) {
      if (form) continue;
      for (const [i, name] of matrix.tensors.entries()) tensor(name, storedShape(matrix, i));
    }
  }
  return { matrices: demanded, tensors: [...tensors.values()], isCopied };
}

/** Names a matrix by its tensors. */
export function matrixName({ tensors }: Matrix): string {
  return tensors.join("+");
}

/** Shapes of a quantized matrix's operands. */
export function quantizedShapes(
  matrix: Matrix,
  form: BlockForm,
): {
  readonly codes: readonly number[];
  readonly scales: readonly number[];
  readonly zeroPoints?: readonly number[];
} {
  const [rows, blocks] = [rowsOf(matrix), blocksOf(matrix.inFeatures, form)];
  const points = zeroPointBytes(matrix.inFeatures, form);
  return {
    codes: [rows, blocks, bytesOfBlock(form)],
    scales: [rows, blocks],
    ...(points > 0 ? { zeroPoints: [rows, points] } : {}),
  };
}

const ANY_FORM: BlockForm = { bits: 8, block: 32 };

function placeholders(matrix: Matrix, path: string): { codes: TensorInfo; scales: TensorInfo } {
  const shapes = quantizedShapes(matrix, ANY_FORM);
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
