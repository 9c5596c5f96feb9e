/** Dense linear algebra for estimates: ridge regression by the Gram matrix of the samples. Row-major float64. */

/** Σ a_i·b_i; four sums, so that additions do not wait for each other. */
function dot(a: Float64Array, b: Float64Array): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= a.length; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < a.length; i++) s0 += a[i] * b[i];
  return s0 + s1 + (s2 + s3);
}

/** a += factor·b */
function addMultiple(a: Float64Array, b: Float64Array, factor: number): void {
  for (let i = 0; i < a.length; i++) a[i] += factor * b[i];
}

/** Of a with four rows of b that follow each other: a is read once for all. @param out takes the four */
function dotFour(a: Float64Array, b: Float64Array, first: number, out: Float64Array): void {
  const n = a.length;
  const [at0, at1, at2, at3] = [first * n, (first + 1) * n, (first + 2) * n, (first + 3) * n];
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    const value = a[i];
    s0 += value * b[at0 + i];
    s1 += value * b[at1 + i];
    s2 += value * b[at2 + i];
    s3 += value * b[at3 + i];
  }
  out[0] = s0;
  out[1] = s1;
  out[2] = s2;
  out[3] = s3;
}

/** a += Σ factors_k·b_k over four rows of b that follow each other */
function addFour(a: Float64Array, b: Float64Array, first: number, factors: Float64Array): void {
  const n = a.length;
  const [at0, at1, at2, at3] = [first * n, (first + 1) * n, (first + 2) * n, (first + 3) * n];
  const [f0, f1, f2, f3] = factors;
  for (let i = 0; i < n; i++) a[i] += f0 * b[at0 + i] + f1 * b[at1 + i] + (f2 * b[at2 + i] + f3 * b[at3 + i]);
}

/** Rows that are worked on together, so that each row they meet is read from memory once for all. */
const ROWS_TOGETHER = 16;

/** G = X·Xᵀ, (count, count), lower triangle filled. @param x (count, n) */
export function gram(x: Float64Array, count: number, n: number): Float64Array {
  const g = new Float64Array(count * count);
  for (let first = 0; first < count; first += ROWS_TOGETHER) {
    const end = Math.min(count, first + ROWS_TOGETHER);
    for (let j = 0; j < end; j++) {
      const b = x.subarray(j * n, (j + 1) * n);
      for (let i = Math.max(first, j); i < end; i++) {
        g[i * count + j] = dot(x.subarray(i * n, (i + 1) * n), b);
      }
    }
  }
  return g;
}

/**
 * In place: the lower triangle of G + diag becomes L with L·Lᵀ = G + diag. The leading block of L belongs to the
 * leading block of G, so one factorisation serves all prefixes.
 *
 * @throws RangeError if the matrix is not positive definite
 */
export function cholesky(g: Float64Array, count: number, diagonal: number): void {
  for (let first = 0; first < count; first += ROWS_TOGETHER) {
    const end = Math.min(count, first + ROWS_TOGETHER);
    // Column by column: what entry (i, j) needs of row i is left of j, and of row j is complete or in this block.
    for (let j = 0; j < end; j++) {
      const b = g.subarray(j * count, j * count + j);
      for (let i = Math.max(first, j); i < end; i++) {
        const rest = g[i * count + j] - dot(b, g.subarray(i * count, i * count + j));
        if (i !== j) g[i * count + j] = rest / g[j * count + j];
        else if (rest + diagonal > 0) g[j * count + j] = Math.sqrt(rest + diagonal);
        else throw new RangeError("the matrix is not positive definite");
      }
    }
  }
}

/** Solves L·Lᵀ·z = y for the leading `size` rows. @param l (count, count) */
export function solveCholesky(l: Float64Array, count: number, size: number, y: Float64Array): Float64Array {
  const z = y.slice(0, size);
  for (let i = 0; i < size; i++) {
    let sum = z[i];
    for (let k = 0; k < i; k++) sum -= l[i * count + k] * z[k];
    z[i] = sum / l[i * count + i];
  }
  for (let i = size - 1; i >= 0; i--) {
    const value = (z[i] /= l[i * count + i]);
    for (let k = 0; k < i; k++) z[k] -= l[i * count + k] * value;
  }
  return z;
}

/** Ridge regression of W from samples: for every prefix of the samples the W with the least ‖Y − X·Wᵀ‖² + λ‖W‖². */
export class PrefixRegression {
  readonly #x: Float64Array;
  readonly #n: number;
  readonly #count: number;
  readonly #factor: Float64Array;

  /** @param x (count, n) @param ridge λ, positive */
  constructor(x: ArrayLike<number>, count: number, n: number, ridge: number) {
    this.#x = Float64Array.from(x);
    this.#n = n;
    this.#count = count;
    this.#factor = gram(this.#x, count, n);
    cholesky(this.#factor, count, ridge);
  }

  /** W·: (R, n) from the first `size` samples. @param y (count, R) */
  solve(y: ArrayLike<number>, rows: number, size: number): Float64Array {
    const n = this.#n;
    const w = new Float64Array(rows * n);
    for (let r = 0; r < rows; r++) {
      const column = Float64Array.from({ length: size }, (_, t) => y[t * rows + r]);
      const z = solveCholesky(this.#factor, this.#count, size, column);
      const row = w.subarray(r * n, (r + 1) * n);
      for (let t = 0; t < size; t++) {
        const factor = z[t];
        const sample = this.#x.subarray(t * n, (t + 1) * n);
        for (let j = 0; j < n; j++) row[j] += factor * sample[j];
      }
    }
    return w;
  }
}

/**
 * Orthonormal directions in which the samples vary most, the most first, (directions, n): block power iteration on
 * XᵀX (Golub & Van Loan §8.2.4). Directions of close eigenvalues mix, which costs an attack nothing.
 */
export function principalDirections(
  x: ArrayLike<number>,
  count: number,
  n: number,
  directions: number,
  start: Float64Array,
  rounds = 6,
): Float64Array {
  const samples = Float64Array.from(x);
  const four = new Float64Array(4);
  let block = start.slice(0, directions * n);
  orthonormalize(block, directions, n);
  for (let round = 0; round < rounds; round++) {
    const next = new Float64Array(directions * n);
    for (let first = 0; first < count; first += ROWS_TOGETHER) {
      const end = Math.min(count, first + ROWS_TOGETHER);
      for (let d = 0; d < directions; d++) {
        const direction = block.subarray(d * n, (d + 1) * n);
        const sum = next.subarray(d * n, (d + 1) * n);
        let t = first;
        for (; t + 4 <= end; t += 4) {
          dotFour(direction, samples, t, four);
          addFour(sum, samples, t, four);
        }
        for (; t < end; t++) {
          const sample = samples.subarray(t * n, (t + 1) * n);
          addMultiple(sum, sample, dot(direction, sample));
        }
      }
    }
    orthonormalize(next, directions, n);
    block = next;
  }
  return block;
}

/** Gram–Schmidt, twice, on the rows: four at a time are taken out of each. */
export function orthonormalize(rows: Float64Array, count: number, n: number): void {
  const four = new Float64Array(4);
  for (let i = 0; i < count; i++) {
    const a = rows.subarray(i * n, (i + 1) * n);
    for (let pass = 0; pass < 2; pass++) {
      let k = 0;
      for (; k + 4 <= i; k += 4) {
        dotFour(a, rows, k, four);
        for (let f = 0; f < 4; f++) four[f] = -four[f];
        addFour(a, rows, k, four);
      }
      for (; k < i; k++) {
        const b = rows.subarray(k * n, (k + 1) * n);
        addMultiple(a, b, -dot(a, b));
      }
    }
    const norm = dot(a, a);
    const inverse = norm > 0 ? 1 / Math.sqrt(norm) : 0;
    for (let j = 0; j < n; j++) a[j] *= inverse;
  }
}
