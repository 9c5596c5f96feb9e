/**
 * Weights as small integers: a block of neighbours in a row shares one float32 scale.
 *
 *   w ≈ scale·(code − zero),  code in [0, 2^bits),  bits = 4 or 8
 *
 * What is rounded here is symmetric, zero = 2^(bits−1): no zero point is stored, since the one in the middle is what ONNX
 * Runtime's MatMulNBits assumes. A file that was rounded elsewhere may have a zero point for each block. The scale has
 * the sign that takes the entry of the largest magnitude to code 0, −2^(bits−1), so that the whole range is used. With
 * 4 bits that scale is a starting point: of some around it, each refitted by least squares, the one with the smallest
 * squared error is taken. On normally distributed weights the error is, in σ:
 *
 *   block                32      64      128
 *   4 bits, searched     0.081   0.090   0.097
 *   8 bits               0.005   0.006   0.006
 */

/** How a matrix is rounded. */
export interface BlockForm {
  readonly bits: QuantizedBits;
  /** Neighbours in a row that share a scale. */
  readonly block: BlockSize;
  /** Whether each block has a zero point. Default: it is 2^(bits−1). */
  readonly hasZeroPoints?: boolean;
}

export type QuantizedBits = 4 | 8;
export type BlockSize = 32 | 64 | 128;

/** Rows of a matrix, quantized in blocks: codes, and a scale for each block. */
export interface QuantizedBlocks {
  /** (rows, blocks, block·bits/8); of two 4-bit codes in a byte the first is the lower half. */
  readonly codes: Uint8Array;
  /** (rows, blocks) */
  readonly scales: Float32Array;
  /** (rows, ⌈blocks·bits/8⌉), packed as codes are. */
  readonly zeroPoints?: Uint8Array;
}

/** A matrix (out, in) that a file holds rounded already. */
export interface RoundedMatrix {
  /** The form that takes it over with no further error, or with the least. */
  readonly form: BlockForm;
  /** Its numbers are stored (in, out), as its tensor's shape says; rows are outputs all the same. Default: (out, in). */
  readonly storedInOut?: boolean;
  /** Rows [first, first + count) in that form; called with ascending ranges. */
  readRows(first: number, count: number): Promise<QuantizedBlocks>;
}

/** x + ROUND − ROUND is x rounded to an integer: at 1.5·2^52 a double has no fraction. Faster than Math.round. */
const ROUND = 1.5 * 2 ** 52;
/**
 * 4 bits: the starting point's range is [−8, 8]·|scale|; these are tried instead of the 8. The larger a block, the more
 * it gains if its largest entries are cut.
 */
const DIVISORS: Readonly<Record<BlockSize, readonly number[]>> = {
  32: [6.8, 7.3, 7.7, 8, 8.4],
  64: [6.8, 7.4, 8, 8.6, 9.4],
  128: [7.1, 7.6, 8.2, 8.8, 9.4, 10.1, 11],
};

export function sameForm(a: BlockForm, b: BlockForm): boolean {
  return (
    a.bits === b.bits && a.block === b.block && (a.hasZeroPoints ?? false) === (b.hasZeroPoints ?? false)
  );
}

export function blocksOf(columns: number, { block }: Pick<BlockForm, "block">): number {
  return Math.ceil(columns / block);
}

/** Of the codes. */
export function bytesOfBlock({ bits, block }: BlockForm): number {
  return (block * bits) / 8;
}

/** Of the zero points of a row. */
export function zeroPointBytes(columns: number, form: BlockForm): number {
  return form.hasZeroPoints ? Math.ceil((blocksOf(columns, form) * form.bits) / 8) : 0;
}

/**
 * Rounds to nearest. A row whose length is no multiple of the block is continued with zeros.
 *
 * @param weights (rows, columns) row-major
 * @returns undefined if a weight is not a number, or too large: infinite, or a scale that float32 does not hold
 * @throws RangeError for a form with zero points
 */
export function quantizeBlocks(
  weights: Float32Array,
  columns: number,
  form: BlockForm,
): QuantizedBlocks | undefined {
  if (form.hasZeroPoints) throw new RangeError("zero points are not made here");
  const rows = weights.length / columns;
  if (!Number.isInteger(rows)) throw new RangeError("the weights do not fill whole rows");
  const { block: size } = form;
  const blocks = blocksOf(columns, form);
  const bytes = bytesOfBlock(form);
  const codes = new Uint8Array(rows * blocks * bytes);
  const scales = new Float32Array(rows * blocks);
  const block = new Float64Array(size);
  const quantize = form.bits === 4 ? quantizeBlock4 : quantizeBlock8;
  const divisors = DIVISORS[size];
  for (let row = 0, b = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += size, b++) {
      const start = row * columns + column;
      const length = Math.min(size, columns - column);
      if (length < size) block.fill(0);
      for (let i = 0; i < length; i++) block[i] = weights[start + i];
      const scale = quantize(block, codes, b * bytes, divisors);
      scales[b] = scale;
      if (!Number.isFinite(scale)) return undefined;
    }
  }
  return { codes, scales };
}

/** The entry of the largest magnitude; NaN if one of them is not finite. */
function extremeOf(block: Float64Array): number {
  let extreme = 0;
  let largest = 0;
  let sum = 0;
  for (let i = 0; i < block.length; i++) {
    const magnitude = Math.abs(block[i]);
    sum += magnitude;
    if (magnitude > largest) {
      largest = magnitude;
      extreme = block[i];
    }
  }
  return sum < Number.POSITIVE_INFINITY ? extreme : Number.NaN;
}

/** Writes the codes at `at`; gives the scale. */
function quantizeBlock4(
  block: Float64Array,
  codes: Uint8Array,
  at: number,
  divisors: readonly number[],
): number {
  const { length } = block;
  const extreme = extremeOf(block);
  if (extreme === 0) {
    codes.fill(0x88, at, at + length / 2);
    return 0;
  }
  let inverse = 0;
  let scale = Number.NaN;
  let best = 0;
  for (let trial = 0; trial < divisors.length; trial++) {
    const inv = -divisors[trial] / extreme;
    // Least squares: scale = Σ w·c / Σ c², which leaves Σ w² − (Σ w·c)² / Σ c². Two chains of sums, since each
    // waits for its last addition.
    let product = 0;
    let product1 = 0;
    let square = 0;
    let square1 = 0;
    for (let i = 0; i < length; i += 2) {
      const w = block[i];
      const w1 = block[i + 1];
      let c = w * inv + ROUND - ROUND;
      let c1 = w1 * inv + ROUND - ROUND;
      c = c > 7 ? 7 : c < -8 ? -8 : c;
      c1 = c1 > 7 ? 7 : c1 < -8 ? -8 : c1;
      product += w * c;
      product1 += w1 * c1;
      square += c * c;
      square1 += c1 * c1;
    }
    product += product1;
    square += square1;
    const gain = (product * product) / square;
    if (gain > best) {
      best = gain;
      inverse = inv;
      scale = product / square;
    }
  }
  for (let i = 0; i < length; i += 2) {
    const low = block[i] * inverse + ROUND - ROUND;
    const high = block[i + 1] * inverse + ROUND - ROUND;
    codes[at + i / 2] = nibble(low) | (nibble(high) << 4);
  }
  return Math.fround(scale);
}

/** Writes the codes at `at`; gives the scale. */
function quantizeBlock8(block: Float64Array, codes: Uint8Array, at: number): number {
  const { length } = block;
  const extreme = extremeOf(block);
  if (extreme === 0) {
    codes.fill(0x80, at, at + length);
    return 0;
  }
  const scale = Math.fround(extreme / -128);
  const inverse = -128 / extreme;
  for (let i = 0; i < length; i++) {
    const code = block[i] * inverse + ROUND - ROUND;
    codes[at + i] = (code > 127 ? 127 : code) + 128;
  }
  return scale;
}

/** The code of a rounded entry. */
function nibble(entry: number): number {
  return (entry > 7 ? 7 : entry < -8 ? -8 : entry) + 8;
}
