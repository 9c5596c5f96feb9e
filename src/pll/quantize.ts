/**
 * Fixed-point weights: row r of a real matrix becomes integers W and a scale,
 *   real[r][j] ≈ scale[r]·W[r][j],   ‖W[r]‖₂ ≤ R.
 * The longest row of a run is nearly R long: the error of E·x̂ shrinks with W, that of rounding x̂ grows with it, and R is
 * where both are alike (docs/parameters.md §Weights). Scales are published, so they are rounded up to the grid 2^(k/16):
 * they say the magnitude of a module and no more (docs/security.md, rule 5).
 */
import { assertLength } from "../base/assert.ts";

/** Rows of W in fixed point: integers, and a scale for each row. */
export interface QuantizedRows {
  readonly rows: number;
  readonly columns: number;
  /** W, (rows, columns) row-major. */
  readonly integers: Int32Array;
  /** One positive scale per row, on the grid. */
  readonly scales: Float64Array;
}

const STEPS_PER_OCTAVE = 16;
/** Scale of rows of zeros: any positive number serves. */
const SMALLEST_SCALE = 2 ** -100;

/** The least 2^(k/16) ≥ value, for value > 0. */
export function roundUpToGrid(value: number): number {
  let k = Math.ceil(STEPS_PER_OCTAVE * Math.log2(value));
  // Math.log2 may be off by an ulp on either side of a grid point.
  while (2 ** (k / STEPS_PER_OCTAVE) < value) k++;
  while (2 ** ((k - 1) / STEPS_PER_OCTAVE) >= value) k--;
  return 2 ** (k / STEPS_PER_OCTAVE);
}

/**
 * Quantises a real matrix (rows, columns) row-major, round to nearest.
 *
 * @param rowNorm R
 * @param runs lengths of runs of rows that share one scale, their sum is `rows`; by default each row has its own
 * @throws RangeError if an entry is not finite
 */
export function quantizeRows(
  real: Float32Array | Float64Array,
  rows: number,
  columns: number,
  rowNorm: number,
  runs: readonly number[] = Array(rows).fill(1),
): QuantizedRows {
  assertLength(real, "matrix", rows * columns);
  if (runs.reduce((sum, length) => sum + length, 0) !== rows)
    throw new RangeError("runs must cover all rows");
  const integers = new Int32Array(rows * columns);
  const scales = new Float64Array(rows);
  let first = 0;
  for (const length of runs) {
    const run = real.subarray(first * columns, (first + length) * columns);
    const target = integers.subarray(first * columns, (first + length) * columns);
    let scale = roundUpToGrid(Math.max(longestRow(run, columns) / rowNorm, SMALLEST_SCALE));
    for (;;) {
      for (let i = 0; i < run.length; i++) target[i] = Math.round(run[i] / scale);
      if (longestRow(target, columns) <= rowNorm) break;
      scale = roundUpToGrid(scale * 1.0001); // rounding has made it longer
    }
    scales.fill(scale, first, first + length);
    first += length;
  }
  return { rows, columns, integers, scales };
}

/** The largest Euclidean norm of a row. @throws RangeError if an entry is not finite */
function longestRow(values: Float32Array | Float64Array | Int32Array, columns: number): number {
  let largest = 0;
  for (let at = 0; at < values.length; at += columns) {
    // By the largest entry first: squares of float64 weights may overflow, or vanish.
    let top = 0;
    for (let j = at; j < at + columns; j++) {
      if (!Number.isFinite(values[j])) throw new RangeError("the matrix is not finite");
      top = Math.max(top, Math.abs(values[j]));
    }
    if (top === 0) continue;
    let squared = 0;
    for (let j = at; j < at + columns; j++) squared += (values[j] / top) ** 2;
    largest = Math.max(largest, top * Math.sqrt(squared));
  }
  return largest;
}
