/**
 * Lenstra–Lenstra–Lovász reduction in floating point, with deep care for cancellation.
 *
 * Sources: Lenstra, Lenstra, Lovász, "Factoring polynomials with rational coefficients", 1982; Schnorr, Euchner,
 * "Lattice basis reduction: improved practical algorithms", 1994 (exact scalar products where floats cancel, repeated
 * size reduction); Nguyen, Stehlé, "An LLL algorithm with quadratic complexity", 2009 (insertion without stepping
 * back one by one).
 *
 * Entries are integers that a double holds exactly; good for a hundred and some dimensions of 32-bit entries.
 */

export interface GramSchmidt {
  /** mu[i][j], j < i. */
  readonly mu: readonly Float64Array[];
  /** ‖b*_i‖². */
  readonly norms: Float64Array;
}

/** Relative size below which a scalar product in doubles has lost too many bits: 2^-20. */
const CANCELLATION = 2 ** -20;
const LARGEST_EXACT = 2 ** 53;

/** Σ a_i·b_i, exact before its last rounding where the float sum cancels. @param squares ‖a‖²·‖b‖², about */
function scalarProduct(a: Float64Array, b: Float64Array, squares: number): number {
  let [s0, s1] = [0, 0];
  let i = 0;
  for (; i + 2 <= a.length; i += 2) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
  }
  if (i < a.length) s0 += a[i] * b[i];
  const sum = s0 + s1;
  if (sum * sum > CANCELLATION ** 2 * squares) return sum;
  let size = 0;
  for (let k = 0; k < a.length; k++) size += Math.abs(a[k] * b[k]);
  if (size < LARGEST_EXACT || Math.abs(sum) > CANCELLATION * size) return sum;
  let exact = 0n;
  for (let k = 0; k < a.length; k++) exact += BigInt(a[k]) * BigInt(b[k]);
  return Number(exact);
}

const square = (a: Float64Array) => scalarProduct(a, a, 0);

/**
 * Reduces the rows in place: |mu_ij| ≤ 0.51 and delta·‖b*_{i-1}‖² ≤ ‖b*_i‖² + mu²·‖b*_{i-1}‖².
 */
export function lllReduce(basis: Float64Array[], delta = 0.99): GramSchmidt {
  const d = basis.length;
  const mu = basis.map(() => new Float64Array(d));
  /** r[i][j] = ⟨b_i, b*_j⟩ */
  const r = basis.map(() => new Float64Array(d));
  r[0][0] = square(basis[0]);
  for (let k = 1; k < d; ) {
    reduceSize(basis, mu, r, k);
    // s = ‖projection of b_k against the first i vectors‖²: how far forward b_k fits.
    let s = r[k][k];
    let place = k;
    while (place > 0) {
      const longer = s + mu[k][place - 1] * r[k][place - 1];
      if (delta * r[place - 1][place - 1] <= longer) break;
      s = longer;
      place--;
    }
    if (place === k) {
      k++;
      continue;
    }
    basis.splice(place, 0, ...basis.splice(k, 1));
    mu.splice(place, 0, ...mu.splice(k, 1));
    r.splice(place, 0, ...r.splice(k, 1));
    r[place][place] = s;
    k = place + 1;
    if (place === 0) r[0][0] = square(basis[0]);
  }
  return { mu, norms: Float64Array.from(r, (row, i) => row[i]) };
}

/** Makes |mu_kj| at most about a half for all j < k, and r_k right. Repeats until nothing changes. */
function reduceSize(basis: Float64Array[], mu: Float64Array[], r: Float64Array[], k: number): void {
  const row = basis[k];
  const bound = Float64Array.from(basis.slice(0, k), square);
  for (let round = 0; round < 64; round++) {
    const own = square(row);
    const products = r[k];
    for (let j = 0; j < k; j++) {
      let product = scalarProduct(row, basis[j], own * bound[j]);
      const muRow = mu[j];
      for (let i = 0; i < j; i++) product -= muRow[i] * products[i];
      products[j] = product;
      mu[k][j] = product / r[j][j];
    }
    let changed = false;
    for (let j = k - 1; j >= 0; j--) {
      if (Math.abs(mu[k][j]) <= 0.51) continue;
      const factor = Math.round(mu[k][j]);
      changed = true;
      for (let i = 0; i < j; i++) mu[k][i] -= factor * mu[j][i];
      mu[k][j] -= factor;
      const other = basis[j];
      for (let i = 0; i < row.length; i++) row[i] -= factor * other[i];
    }
    if (!changed) break;
  }
  let norm = square(row);
  for (let j = 0; j < k; j++) norm -= mu[k][j] * r[k][j];
  r[k][k] = norm;
}
