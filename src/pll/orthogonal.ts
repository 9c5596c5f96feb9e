/** Small dense linear algebra in float64: Householder QR and Haar-random orthogonal matrices. */

/**
 * Thin QR: A = Q·T with Q (m, k) orthonormal and T (k, n) upper trapezoidal, k = min(m, n), by Householder
 * reflections (Golub & Van Loan, Matrix Computations, 4th ed., §5.2). Q is orthonormal to rounding whatever A's
 * rank is. All matrices row-major.
 */
export function thinQr(
  a: Float64Array,
  m: number,
  n: number,
): { q: Float64Array; t: Float64Array; k: number } {
  if (a.length !== m * n) throw new RangeError(`matrix must have ${m * n} entries, got ${a.length}`);
  const k = Math.min(m, n);
  // Columns, one after the other: a reflection goes through each from top to bottom.
  const work = transpose(a, m, n);
  const reflectors: Float64Array[] = [];
  for (let j = 0; j < k; j++) {
    const v = work.slice(j * m + j, (j + 1) * m);
    const length = euclideanNorm(v);
    // v ← x + sign(x_0)·‖x‖·e_0 avoids cancellation; a zero column needs no reflection.
    v[0] += v[0] >= 0 ? length : -length;
    const squared = v.reduce((sum, value) => sum + value * value, 0);
    if (squared > 0) reflect(work, m, n, j, v, squared);
    reflectors.push(v);
  }
  const t = new Float64Array(k * n);
  for (let i = 0; i < k; i++) for (let j = i; j < n; j++) t[i * n + j] = work[j * m + i];
  // Q = H_0 … H_{k-1} applied to the first k columns of the identity.
  const q = new Float64Array(m * k);
  for (let i = 0; i < k; i++) q[i * m + i] = 1;
  for (let j = k - 1; j >= 0; j--) {
    const v = reflectors[j];
    const squared = v.reduce((sum, value) => sum + value * value, 0);
    if (squared > 0) reflect(q, m, k, j, v, squared);
  }
  return { q: transpose(q, k, m), t, k };
}

/**
 * M ← (I − 2vvᵀ/‖v‖²)·M on rows [first, m) of M (m, n), given as Mᵀ, where columns before `first` hold nothing in these
 * rows that is read again: A's are done, and Q's are zero.
 */
function reflect(
  columns: Float64Array,
  m: number,
  n: number,
  first: number,
  v: Float64Array,
  squared: number,
): void {
  const length = v.length;
  const factors = v.map((value) => (2 * value) / squared);
  let j = first;
  // Four sums at a time: each addition of one waits for the one before.
  for (; j + 4 <= n; j += 4) {
    const [c0, c1, c2, c3] = [0, 1, 2, 3].map((k) => (j + k) * m + first);
    let [d0, d1, d2, d3] = [0, 0, 0, 0];
    for (let i = 0; i < length; i++) {
      const value = v[i];
      d0 += value * columns[c0 + i];
      d1 += value * columns[c1 + i];
      d2 += value * columns[c2 + i];
      d3 += value * columns[c3 + i];
    }
    for (let i = 0; i < length; i++) {
      const factor = factors[i];
      columns[c0 + i] -= factor * d0;
      columns[c1 + i] -= factor * d1;
      columns[c2 + i] -= factor * d2;
      columns[c3 + i] -= factor * d3;
    }
  }
  for (; j < n; j++) {
    const from = j * m + first;
    let dot = 0;
    for (let i = 0; i < length; i++) dot += v[i] * columns[from + i];
    for (let i = 0; i < length; i++) columns[from + i] -= factors[i] * dot;
  }
}

/** ‖v‖, in pieces: Math.hypot takes its entries as arguments, of which there may be too many. */
export function euclideanNorm(v: Float64Array): number {
  const norms: number[] = [];
  for (let i = 0; i < v.length; i += 256) norms.push(Math.hypot(...v.subarray(i, i + 256)));
  return Math.hypot(...norms);
}

/**
 * A Haar-distributed orthogonal matrix (k, k): Q of the QR of a Gaussian matrix, columns multiplied by the signs
 * of T's diagonal (Mezzadri, "How to generate random matrices from the classical compact groups", 2007).
 */
export function haarOrthogonal(k: number, standardGaussian: () => number): Float64Array {
  const gaussian = Float64Array.from({ length: k * k }, standardGaussian);
  const { q, t } = thinQr(gaussian, k, k);
  for (let j = 0; j < k; j++) {
    if (t[j * k + j] >= 0) continue;
    for (let i = 0; i < k; i++) q[i * k + j] = -q[i * k + j];
  }
  return q;
}

/** C = A·B, (m, k)·(k, n), row-major. */
export function multiply(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  m: number,
  k: number,
  n: number,
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    let l = 0;
    // An entry of C is read and written once for four products.
    for (; l + 4 <= k; l += 4) {
      const [f0, f1, f2, f3] = [a[i * k + l], a[i * k + l + 1], a[i * k + l + 2], a[i * k + l + 3]];
      const [b0, b1, b2, b3] = [l * n, (l + 1) * n, (l + 2) * n, (l + 3) * n];
      for (let j = 0; j < n; j++)
        c[i * n + j] = c[i * n + j] + f0 * b[b0 + j] + f1 * b[b1 + j] + f2 * b[b2 + j] + f3 * b[b3 + j];
    }
    for (; l < k; l++) {
      const factor = a[i * k + l];
      for (let j = 0; j < n; j++) c[i * n + j] += factor * b[l * n + j];
    }
  }
  return c;
}

/** Aᵀ of A (m, n). */
export function transpose<Matrix extends Float32Array | Float64Array>(
  a: Matrix,
  m: number,
  n: number,
): Matrix {
  const out = a.slice() as Matrix;
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j];
  return out;
}
