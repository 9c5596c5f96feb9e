/**
 * Fixed-point weights: row r of a real matrix becomes w-bit integers W and a scale,
 *   real[r][j] ≈ scale[r]·W[r][j],   |W[r][j]| ≤ 2^(w-1) − 1.
 * Scales and the norm bound are published, so they are rounded up to the grid 2^(k/4): they say the
 * magnitude of a row and no more (docs/security.md, rule 5).
 */
import { assertInteger, assertLength } from "../base/assert.ts";

export interface QuantizedMatrix {
  readonly rows: number;
  readonly columns: number;
  /** W, (rows, columns) row-major. */
  readonly integers: Int16Array;
  /** One positive scale per row, on the grid. */
  readonly scales: Float64Array;
  /** At least the largest Euclidean norm of a row of W, on the grid. */
  readonly normBound: number;
}

/** Scale of rows of zeros: any positive number serves. */
const SMALLEST_SCALE = 2 ** -100;

/** The least 2^(k/4) ≥ value, for value > 0. */
export function roundUpToGrid(value: number): number {
  let k = Math.ceil(4 * Math.log2(value));
  // Math.log2 may be off by an ulp on either side of a grid point.
  while (2 ** (k / 4) < value) k++;
  while (2 ** ((k - 1) / 4) >= value) k--;
  return 2 ** (k / 4);
}

/**
 * Quantises a real matrix (rows, columns) row-major to `bits` bits, round to nearest.
 *
 * @param runs lengths of runs of rows that share one scale, their sum is `rows`; by default each row has its own
 * @throws RangeError if an entry is not finite
 */
export function quantizeRows(
  real: Float32Array | Float64Array,
  rows: number,
  columns: number,
  bits: number,
  runs: readonly number[] = Array(rows).fill(1),
): QuantizedMatrix {
  assertInteger(bits, "bits", 2, 13);
  assertLength(real, "matrix", rows * columns);
  if (runs.reduce((sum, length) => sum + length, 0) !== rows)
    throw new RangeError("runs must cover all rows");
  const limit = 2 ** (bits - 1) - 1;
  const integers = new Int16Array(rows * columns);
  const scales = new Float64Array(rows);
  let first = 0;
  for (const length of runs) {
    const run = real.subarray(first * columns, (first + length) * columns);
    const scale = roundUpToGrid(Math.max(largestMagnitude(run) / limit, SMALLEST_SCALE));
    for (let i = 0; i < run.length; i++) integers[first * columns + i] = Math.round(run[i] / scale);
    scales.fill(scale, first, first + length);
    first += length;
  }
  return {
    rows,
    columns,
    integers,
    scales,
    normBound: roundUpToGrid(largestRowNorm(integers, rows, columns)),
  };
}

/** @throws RangeError if an entry is not finite */
function largestMagnitude(values: Float32Array | Float64Array): number {
  let largest = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) throw new RangeError("the matrix is not finite");
    largest = Math.max(largest, Math.abs(value));
  }
  return largest;
}

/** The largest Euclidean norm of a row, at least 1. */
function largestRowNorm(integers: Int16Array, rows: number, columns: number): number {
  let largest = 1;
  for (let r = 0; r < rows; r++) {
    let squared = 0;
    for (let j = 0; j < columns; j++) squared += integers[r * columns + j] ** 2;
    largest = Math.max(largest, squared);
  }
  return Math.sqrt(largest);
}
