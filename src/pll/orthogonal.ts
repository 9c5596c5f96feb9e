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
  const work = Float64Array.from(a);
  const reflectors: Float64Array[] = [];
  for (let j = 0; j < k; j++) {
    const v = new Float64Array(m - j);
    for (let i = j; i < m; i++) v[i - j] = work[i * n + j];
    const length = euclideanNorm(v);
    // v ← x + sign(x_0)·‖x‖·e_0 avoids cancellation; a zero column needs no reflection.
    v[0] += v[0] >= 0 ? length : -length;
    const squared = v.reduce((sum, value) => sum + value * value, 0);
    if (squared > 0) reflect(work, m, n, j, v, squared);
    reflectors.push(v);
  }
  const t = new Float64Array(k * n);
  for (let i = 0; i < k; i++) for (let j = i; j < n; j++) t[i * n + j] = work[i * n + j];
  // Q = H_0 … H_{k-1} applied to the first k columns of the identity.
  const q = new Float64Array(m * k);
  for (let i = 0; i < k; i++) q[i * k + i] = 1;
  for (let j = k - 1; j >= 0; j--) {
    const v = reflectors[j];
    const squared = v.reduce((sum, value) => sum + value * value, 0);
    if (squared > 0) reflect(q, m, k, j, v, squared);
  }
  return { q, t, k };
}

/**
 * M ← (I − 2vvᵀ/‖v‖²)·M on rows [first, m) of M (m, n), where columns before `first` hold nothing in these rows that is
 * read again: A's are done, and Q's are zero.
 */
function reflect(
  matrix: Float64Array,
  m: number,
  n: number,
  first: number,
  v: Float64Array,
  squared: number,
): void {
  const dots = new Float64Array(n);
  for (let i = first; i < m; i++) {
    const factor = v[i - first];
    for (let j = first; j < n; j++) dots[j] += factor * matrix[i * n + j];
  }
  for (let i = first; i < m; i++) {
    const factor = (2 * v[i - first]) / squared;
    for (let j = first; j < n; j++) matrix[i * n + j] -= factor * dots[j];
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
    for (let l = 0; l < k; l++) {
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
