/** Rounded rows of several forms in one, exactly: tensors that are joined into one matrix may be rounded in other ways. */

import {
  type BlockForm,
  type BlockSize,
  blocksOf,
  bytesOfBlock,
  type QuantizedBlocks,
  sameForm,
  zeroPointBytes,
} from "./quantize-blocks.ts";

/** The least form that holds rows of all these forms exactly. */
export function joinForms(forms: readonly BlockForm[]): BlockForm {
  const bits = forms.some((form) => form.bits === 8) ? 8 : 4;
  // With 8 bits a code of 4 has its zero point in it.
  const hasZeroPoints = forms.some((form) => form.hasZeroPoints && form.bits === bits);
  const block = Math.min(...forms.map(({ block }) => block)) as BlockSize;
  return { bits, block, ...(hasZeroPoints ? { hasZeroPoints } : {}) };
}

/**
 * The same numbers in another form.
 *
 * @param columns of a row
 * @param to a form that {@link joinForms} gives for `from` and others
 */
export function convertRows(
  rows: QuantizedBlocks,
  columns: number,
  from: BlockForm,
  to: BlockForm,
): QuantizedBlocks {
  if (sameForm(from, to)) return rows;
  const [given, wanted] = [blocksOf(columns, from), blocksOf(columns, to)];
  const count = rows.scales.length / given;
  const zeroBytes = [zeroPointBytes(columns, from), zeroPointBytes(columns, to)];
  const scales = new Float32Array(count * wanted);
  const codes = new Uint8Array(count * wanted * bytesOfBlock(to));
  const zeroPoints = new Uint8Array(count * zeroBytes[1]);
  for (let row = 0, b = 0; row < count; row++) {
    for (let at = 0; at < wanted; at++, b++) {
      const source = Math.floor((at * to.block) / from.block);
      const zero = rows.zeroPoints
        ? codeAt(rows.zeroPoints, row * zeroBytes[0], source, from.bits)
        : 2 ** (from.bits - 1);
      // 4 bits in 8: w = s·(c − z) = s·((c + 128 − z) − 128).
      const shift = to.bits === from.bits ? 0 : 128 - zero;
      scales[b] = rows.scales[row * given + source];
      if (to.hasZeroPoints) putCode(zeroPoints, row * zeroBytes[1], at, to.bits, zero + shift);
      const first = row * given * from.block + at * to.block;
      for (let i = 0; i < to.block; i++) {
        putCode(codes, 0, b * to.block + i, to.bits, codeAt(rows.codes, 0, first + i, from.bits) + shift);
      }
    }
  }
  return { codes, scales, ...(to.hasZeroPoints ? { zeroPoints } : {}) };
}

/** Code i of those that begin at a byte; of two in a byte the first is the lower half. */
function codeAt(bytes: Uint8Array, start: number, i: number, bits: 4 | 8): number {
  return bits === 8 ? bytes[start + i] : (bytes[start + (i >> 1)] >> (4 * (i & 1))) & 15;
}

function putCode(bytes: Uint8Array, start: number, i: number, bits: 4 | 8, code: number): void {
  if (bits === 8) bytes[start + i] = code;
  else bytes[start + (i >> 1)] |= code << (4 * (i & 1));
}
