/** Which form each matrix of a model is rounded to. */

import { joinForms } from "../../weights/join-forms.ts";
import type { BlockForm, BlockSize } from "../../weights/quantize-blocks.ts";
import { type Matrix, rowsOf, type StoredTensor, type WeightFormat } from "./weight-source.ts";

/**
 * int4: as much of the model has 8 bits, from its beginning on. What is rounded in the first layers goes through all the
 * others: with the first of the embedded model's six in 8 bits and blocks of 128 the error of the logits is 0.076, with
 * 4 bits throughout 0.111, and 0.089 in blocks of 32, which take as many bytes and are slower (rms, in parts of the logits' own).
 */
const WIDE_PART = 1 / 7;

/** int8: who asks for it wants the smaller error. */
const INT8_BLOCK = 64;

/** A matrix and where it is stored. */
interface StoredMatrix {
  readonly matrix: Matrix;
  readonly parts: readonly StoredTensor[];
}

/**
 * The form of each matrix, undefined: it stays as it is.
 *
 * - original: what the file holds rounded stays so.
 * - int8: the others have 8 bits.
 * - int4: what the file holds in 4 bits stays so. Of the others the head has 8 bits, since what is rounded there shows in
 *   every token's probability, and so have the first ones of the pass, a seventh of all weights; the rest has 4.
 */
export function chooseForms(
  format: WeightFormat,
  matrices: readonly StoredMatrix[],
): (BlockForm | undefined)[] {
  const forms = matrices.map(({ matrix, parts }): BlockForm | undefined => {
    const stored = storedForm(matrix, parts);
    if (stored && (format !== "int4" || stored.bits === 4 || matrix.isHead)) return stored;
    if (format === "original" || matrix.exact) return undefined;
    if (format === "int8")
      return { bits: 8, block: Math.min(blockFor(matrix.inFeatures), INT8_BLOCK) as BlockSize };
    return roundedForm(matrix, matrix.isHead ? 8 : 4);
  });
  if (format === "int4") widen(matrices, forms);
  return forms;
}

/** The form of what is rounded already; parts of several forms are taken to one that holds them all. */
function storedForm({ storedInOut = false }: Matrix, parts: readonly StoredTensor[]): BlockForm | undefined {
  // Blocks go along the inputs.
  const forms = parts.flatMap(({ info: { rounded } }) =>
    rounded && (rounded.storedInOut ?? false) === storedInOut ? [rounded.form] : [],
  );
  if (forms.length < parts.length || forms.length === 0) return undefined;
  return joinForms(forms);
}

function widen(matrices: readonly StoredMatrix[], forms: (BlockForm | undefined)[]): void {
  const size = (i: number) => rowsOf(matrices[i].matrix) * matrices[i].matrix.inFeatures;
  const inLayers = matrices.map((_, i) => i).filter((i) => forms[i] && !matrices[i].matrix.isHead);
  let left = WIDE_PART * inLayers.reduce((sum, i) => sum + size(i), 0);
  for (const i of inLayers) {
    if (left <= 0) break;
    left -= size(i);
    if (storedForm(matrices[i].matrix, matrices[i].parts) === undefined)
      forms[i] = roundedForm(matrices[i].matrix, 8);
  }
}

function roundedForm({ inFeatures }: Matrix, bits: 4 | 8): BlockForm {
  return { bits, block: blockFor(inFeatures) };
}

/** The largest block that rows are whole blocks of, as zeros behind a row cost as much as weights. */
function blockFor(columns: number): BlockSize {
  return columns % 128 === 0 ? 128 : columns % 64 === 0 ? 64 : 32;
}
