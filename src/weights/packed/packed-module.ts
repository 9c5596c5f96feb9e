/**
 * A linear module that a file holds as integers in words of 32 bits, and the same as float32 and as our own blocks.
 *
 *   w[n][k] = s[g][n]·(q[k][n] − z[g][n]),  g the group of input k
 *
 * GPTQ: word (i, n) of `qweight` has inputs i·p … i·p + p − 1 of output n, p = 32/bits, the first one lowest; word (g, j)
 * of `qzeros` likewise the outputs j·p … of group g. Its first version stores each word of zero points less one in every
 * field, which comes back with the addition of 0x11111111 (bits = 4), modulo 2^32.
 * AWQ: word (k, j) of `qweight` has outputs 8j … 8j + 7 of input k, field i of it output 8j + ORDER[i]; `qzeros` likewise.
 * Sources: AutoGPTQ and GPTQModel, `qlinear` (pack, dequantize_weight, convert_gptq_v1_to_v2_format); AutoAWQ,
 * `awq/modules/linear/gemm.py`.
 */

import { TacetError } from "../../base/errors.ts";
import {
  type BlockForm,
  blocksOf,
  type QuantizedBlocks,
  quantizeBlocks,
  zeroPointBytes,
} from "../quantize-blocks.ts";

/** Field of an AWQ word that has output 8j + i: the inverse of 0, 2, 4, 6, 1, 3, 5, 7. */
const AWQ_FIELD = [0, 4, 1, 5, 2, 6, 3, 7];

export interface PackedLayout {
  readonly method: "gptq" | "awq";
  readonly bits: 4 | 8;
  readonly zerosLessOne: boolean;
  /** All zero points are 2^(bits−1). */
  readonly symmetric: boolean;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly groups: number;
  /** Inputs of a group, if they are neighbours. */
  readonly groupSize: number;
  /** Group of each input, where it is not ⌊k / groupSize⌋. */
  readonly groupOf?: Int32Array | undefined;
}

export interface PackedTensors {
  readonly qweight: Uint32Array;
  readonly qzeros: Uint32Array;
  /** (groups, out) */
  readonly scales: Float32Array;
}

/** The blocks that hold a module best: its own groups, or, where inputs are in any order, 8 bits in blocks of 32. */
export function formOf(layout: PackedLayout): BlockForm {
  return exactForm(layout) ?? ROUNDED;
}

/** Of modules that no blocks hold exactly: 0.005 σ more of error, where 4 bits have 0.1. */
const ROUNDED: BlockForm = { bits: 8, block: 32 };

/** A group is a block, or several with the same scale. */
function exactForm(layout: PackedLayout): BlockForm | undefined {
  const { bits, groupSize, groups, groupOf, inFeatures, symmetric } = layout;
  if (groupOf !== undefined) return undefined;
  const fits = (block: number) => (groups === 1 ? inFeatures >= block : groupSize % block === 0);
  const block = ([128, 64, 32] as const).find(fits) ?? (groups === 1 ? 32 : undefined);
  return block && { bits, block, ...(symmetric ? {} : { hasZeroPoints: true }) };
}

export class PackedModule {
  readonly #layout: PackedLayout;
  readonly #tensors: PackedTensors;
  /** (groups, out) */
  readonly #zeros: Uint8Array;
  readonly #where: string;

  /**
   * @param where the module and its file, for errors
   * @throws TacetError bad_checkpoint for scales that are not finite, or zero points that are not what the configuration says
   */
  constructor(layout: PackedLayout, tensors: PackedTensors, where: string) {
    this.#layout = layout;
    this.#tensors = tensors;
    this.#where = where;
    this.#zeros = unpackZeros(layout, tensors.qzeros);
    if (!tensors.scales.every(Number.isFinite))
      throw damaged(where, "scales has an entry that is not finite");
    const middle = 2 ** (layout.bits - 1);
    if (layout.symmetric && !this.#zeros.every((zero) => zero === middle)) {
      const what = `qzeros has a zero point other than ${middle}, and quantization_config.sym is true`;
      throw damaged(where, what);
    }
  }

  /** Rows as float32, (count, in) row-major; each is the nearest to s·(q − z). */
  dequantize(first: number, count: number): Float32Array {
    const { inFeatures, outFeatures } = this.#layout;
    const { scales } = this.#tensors;
    const codes = this.#codes(first, count);
    const out = new Float32Array(count * inFeatures);
    const groups = this.#groups();
    for (let row = 0, at = 0; row < count; row++) {
      for (let k = 0; k < inFeatures; k++, at++) {
        const g = groups[k] * outFeatures + first + row;
        out[at] = scales[g] * (codes[at] - this.#zeros[g]);
      }
    }
    return out;
  }

  /** Rows in the blocks of {@link formOf}. @throws TacetError bad_checkpoint */
  blocks(first: number, count: number): QuantizedBlocks {
    const { inFeatures, outFeatures, groupSize } = this.#layout;
    const form = exactForm(this.#layout);
    if (form === undefined) {
      const rounded = quantizeBlocks(this.dequantize(first, count), inFeatures, ROUNDED);
      if (!rounded) throw damaged(this.#where, "scales has an entry that is too large");
      return rounded;
    }
    const { bits, block } = form;
    const perRow = blocksOf(inFeatures, form);
    const zeroBytes = zeroPointBytes(inFeatures, form);
    const read = this.#codes(first, count);
    const codes = new Uint8Array(count * perRow * block);
    const scales = new Float32Array(count * perRow);
    const zeroPoints = new Uint8Array(count * zeroBytes);
    for (let row = 0; row < count; row++) {
      const zeros = new Uint8Array(perRow);
      for (let b = 0; b < perRow; b++) {
        const g = Math.floor((b * block) / groupSize) * outFeatures + first + row;
        const at = row * perRow + b;
        scales[at] = this.#tensors.scales[g];
        zeros[b] = this.#zeros[g];
        // What is behind the row counts as w = 0.
        codes.fill(zeros[b], at * block, (at + 1) * block);
        const from = row * inFeatures + b * block;
        codes.set(read.subarray(from, from + Math.min(block, inFeatures - b * block)), at * block);
      }
      if (form.hasZeroPoints) zeroPoints.set(bits === 8 ? zeros : inHalves(zeros), row * zeroBytes);
    }
    return {
      codes: bits === 8 ? codes : inHalves(codes),
      scales,
      ...(form.hasZeroPoints ? { zeroPoints } : {}),
    };
  }

  /** Group of each input. */
  #groups(): Int32Array {
    const { groupOf, groupSize, inFeatures } = this.#layout;
    return groupOf ?? Int32Array.from({ length: inFeatures }, (_, k) => Math.floor(k / groupSize));
  }

  /** q of rows, (count, in) row-major. */
  #codes(first: number, count: number): Uint8Array {
    const { method, bits, inFeatures, outFeatures } = this.#layout;
    const { qweight } = this.#tensors;
    const codes = new Uint8Array(count * inFeatures);
    const mask = 2 ** bits - 1;
    if (method === "awq") {
      const words = outFeatures / 8;
      for (let k = 0; k < inFeatures; k++) {
        for (let row = 0; row < count; row++) {
          const n = first + row;
          codes[row * inFeatures + k] = (qweight[k * words + (n >> 3)] >>> (4 * AWQ_FIELD[n & 7])) & 15;
        }
      }
      return codes;
    }
    const fields = 32 / bits;
    for (let k = 0; k < inFeatures; k += fields) {
      const words = (k / fields) * outFeatures + first;
      for (let row = 0; row < count; row++) {
        let word = qweight[words + row];
        const at = row * inFeatures + k;
        for (let i = 0; i < fields; i++, word >>>= bits) codes[at + i] = word & mask;
      }
    }
    return codes;
  }
}

function unpackZeros(
  { method, bits, groups, outFeatures, zerosLessOne }: PackedLayout,
  qzeros: Uint32Array,
): Uint8Array {
  const zeros = new Uint8Array(groups * outFeatures);
  const fields = 32 / bits;
  const one = zerosLessOne ? (bits === 4 ? 0x11111111 : 0x01010101) : 0;
  const words = outFeatures / fields;
  for (let g = 0; g < groups; g++) {
    for (let n = 0; n < outFeatures; n++) {
      const word = (qzeros[g * words + Math.floor(n / fields)] + one) >>> 0;
      const field = method === "awq" ? AWQ_FIELD[n & 7] : n % fields;
      zeros[g * outFeatures + n] = (word >>> (bits * field)) & (2 ** bits - 1);
    }
  }
  return zeros;
}

/** Two 4-bit codes in a byte, the first in the lower half. */
function inHalves(codes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i++) packed[i >> 1] |= codes[i] << (4 * (i & 1));
  return packed;
}

function damaged(where: string, what: string): TacetError {
  return new TacetError("bad_checkpoint", `${where}: ${what}`, {
    hint: "the file is damaged, or its quantization failed: download it again, or take another copy",
  });
}
