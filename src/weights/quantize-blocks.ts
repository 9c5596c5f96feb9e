/**
 * Weights as small integers: blocks of 32 neighbours in a row share one float32 scale.
 *
 *   w ≈ scale·(code − 2^(bits−1)),  code in [0, 2^bits),  bits = 4 or 8
 *
 * Symmetric: no zero point is stored, since the one in the middle is what ONNX Runtime's MatMulNBits assumes, and
 * its kernels are up to twice as fast without one. The scale has the sign that takes the entry of the largest
 * magnitude to code 0, −2^(bits−1), so that the whole range is used. With 4 bits that scale is a starting point:
 * of five around it, each refitted by least squares, the one with the smallest squared error is taken. On normally
 * distributed weights that is an error of 0.081 σ, as large as with a minimum and a zero point for each block
 * (0.081), against 0.086 with the starting point alone and 0.097 with max|w|/7.
 */

/** Neighbours in a row that share a scale. */
export const BLOCK = 32;

export type QuantizedBits = 4 | 8;

/** Rows of a matrix, quantized. */
export interface QuantizedRows {
  /** (rows, blocks, 32·bits/8); of two 4-bit codes in a byte the first is the lower half. */
  readonly codes: Uint8Array;
  /** (rows, blocks) */
  readonly scales: Float32Array;
}

/** x + ROUND − ROUND is x rounded to an integer: at 1.5·2^52 a double has no fraction. Faster than Math.round. */
const ROUND = 1.5 * 2 ** 52;

/** 4 bits: the starting point's range is [−8, 8]·|scale|; these are tried instead of the 8. Below 8.5, so that nothing is rounded below −8. */
const DIVISORS = [6.8, 7.3, 7.7, 8, 8.4];

export function blocksOf(columns: number): number {
  return Math.ceil(columns / BLOCK);
}

export function bytesOfBlock(bits: QuantizedBits): number {
  return (BLOCK * bits) / 8;
}

/**
 * Rounds to nearest. A row whose length is no multiple of 32 is continued with zeros.
 *
 * @param weights (rows, columns) row-major
 * @returns undefined if a weight is not a number, or too large: infinite, or a scale that float32 does not hold
 */
export function quantizeBlocks(
  weights: Float32Array,
  columns: number,
  bits: QuantizedBits,
): QuantizedRows | undefined {
  const rows = weights.length / columns;
  if (!Number.isInteger(rows)) throw new RangeError("the weights do not fill whole rows");
  const blocks = blocksOf(columns);
  const codes = new Uint8Array(rows * blocks * bytesOfBlock(bits));
  const scales = new Float32Array(rows * blocks);
  const block = new Float64Array(BLOCK);
  const quantize = bits === 4 ? quantizeBlock4 : quantizeBlock8;
  for (let row = 0, b = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += BLOCK, b++) {
      const start = row * columns + column;
      const length = Math.min(BLOCK, columns - column);
      if (length < BLOCK) block.fill(0);
      for (let i = 0; i < length; i++) block[i] = weights[start + i];
      const scale = quantize(block, codes, b * bytesOfBlock(bits));
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
  for (let i = 0; i < BLOCK; i++) {
    const magnitude = Math.abs(block[i]);
    sum += magnitude;
    if (magnitude > largest) {
      largest = magnitude;
      extreme = block[i];
    }
  }
  return sum < Number.POSITIVE_INFINITY ? extreme : Number.NaN;
}

/** Writes 16 bytes at `at`; gives the scale. */
function quantizeBlock4(block: Float64Array, codes: Uint8Array, at: number): number {
  const extreme = extremeOf(block);
  if (extreme === 0) {
    codes.fill(0x88, at, at + BLOCK / 2);
    return 0;
  }
  let inverse = 0;
  let scale = Number.NaN;
  let best = 0;
  for (let trial = 0; trial < DIVISORS.length; trial++) {
    const inv = -DIVISORS[trial] / extreme;
    // Least squares: scale = Σ w·c / Σ c², which leaves Σ w² − (Σ w·c)² / Σ c². Two chains of sums, since each
    // waits for its last addition.
    let product = 0;
    let product1 = 0;
    let square = 0;
    let square1 = 0;
    for (let i = 0; i < BLOCK; i += 2) {
      const w = block[i];
      const w1 = block[i + 1];
      let c = w * inv + ROUND - ROUND;
      let c1 = w1 * inv + ROUND - ROUND;
      c = c > 7 ? 7 : c;
      c1 = c1 > 7 ? 7 : c1;
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
  for (let i = 0; i < BLOCK; i += 2) {
    const low = block[i] * inverse + ROUND - ROUND;
    const high = block[i + 1] * inverse + ROUND - ROUND;
    codes[at + i / 2] = ((low > 7 ? 7 : low) + 8) | (((high > 7 ? 7 : high) + 8) << 4);
  }
  return Math.fround(scale);
}

/** Writes 32 bytes at `at`; gives the scale. */
function quantizeBlock8(block: Float64Array, codes: Uint8Array, at: number): number {
  const extreme = extremeOf(block);
  if (extreme === 0) {
    codes.fill(0x80, at, at + BLOCK);
    return 0;
  }
  const scale = Math.fround(extreme / -128);
  const inverse = -128 / extreme;
  for (let i = 0; i < BLOCK; i++) {
    const code = block[i] * inverse + ROUND - ROUND;
    codes[at + i] = (code > 127 ? 127 : code) + 128;
  }
  return scale;
}
