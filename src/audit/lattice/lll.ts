/**
 * Lenstra–Lenstra–Lovász reduction in floating point, with deep care for cancellation.
 *
 * Sources: Lenstra, Lenstra, Lovász, "Factoring polynomials with rational coefficients", 1982; Schnorr, Euchner,
 * "Lattice basis reduction: improved practical algorithms", 1994 (exact scalar products where floats cancel, repeated
 * size reduction); Nguyen, Stehlé, "An LLL algorithm with quadratic complexity", 2009 (exact Gram matrix; insertion
 * without stepping back one by one; coefficients that an insertion leaves as they are).
 *
 * Entries are integers that a double holds exactly; good for a hundred and some dimensions of 32-bit entries.
 */

export interface GramSchmidt {
  /** mu[i][j], j < i. */
  readonly mu: readonly Float64Array[];
  /** ‖b*_i‖². */
  readonly norms: Float64Array;
}

/** A vector of the basis, with what is known of it; it keeps its identity when vectors change places. */
interface Row {
  readonly values: Float64Array;
  /** Index in the Gram matrix. */
  readonly id: number;
  /** By place in the basis. */
  readonly mu: Float64Array;
  /** ⟨b_i, b*_j⟩, by place in the basis. */
  readonly r: Float64Array;
  /** So many of the first entries of mu and r are right. */
  known: number;
  /** ‖b‖ */
  norm: number;
}

/** Relative size below which a scalar product in doubles has lost too many bits: 2^-20. */
const CANCELLATION = 2 ** -20;
const LARGEST_EXACT = 2 ** 53;
/** Scalar products of two vectors that are shorter are integers that doubles hold. */
const SHORT = 2 ** 22;
/** The same for one of these and a shorter one. */
const LARGEST_SUM = 2 ** 31;

/** Σ a_i·b_i, exact before its last rounding where the float sum cancels. @param squares ‖a‖²·‖b‖², about */
function scalarProduct(a: Float64Array, b: Float64Array, squares: number): number {
  const sum = sumOfProducts(a, b, a.length);
  if (sum * sum > CANCELLATION ** 2 * squares) return sum;
  let size = 0;
  for (let k = 0; k < a.length; k++) size += Math.abs(a[k] * b[k]);
  if (size < LARGEST_EXACT || Math.abs(sum) > CANCELLATION * size) return sum;
  let exact = 0n;
  for (let k = 0; k < a.length; k++) exact += BigInt(a[k]) * BigInt(b[k]);
  return Number(exact);
}

const square = (a: Float64Array) => scalarProduct(a, a, 0);

/** a −= factor·b, the first entries of both */
function subtractMultiple(a: Float64Array, factor: number, b: Float64Array, count = b.length): void {
  for (let i = 0; i < count; i++) a[i] -= factor * b[i];
}

interface Multiple {
  readonly factor: number;
  readonly other: Row;
}

/** a −= Σ factor·vector, all of them integers and so exact in any order: four at a time, which reads and writes a less. */
function subtractMultiples(
  a: Float64Array,
  multiples: readonly Multiple[],
  vectorOf: (row: Row) => Float64Array,
): void {
  let k = 0;
  for (; k + 4 <= multiples.length; k += 4) {
    const [m0, m1, m2, m3] = [multiples[k], multiples[k + 1], multiples[k + 2], multiples[k + 3]];
    const [f0, f1, f2, f3] = [m0.factor, m1.factor, m2.factor, m3.factor];
    const [b0, b1] = [vectorOf(m0.other), vectorOf(m1.other)];
    const [b2, b3] = [vectorOf(m2.other), vectorOf(m3.other)];
    for (let i = 0; i < a.length; i++) a[i] -= f0 * b0[i] + f1 * b1[i] + (f2 * b2[i] + f3 * b3[i]);
  }
  for (; k < multiples.length; k++) subtractMultiple(a, multiples[k].factor, vectorOf(multiples[k].other));
}

/** Scalar products of the vectors: those of two short ones are kept, and follow what is done to the vectors. */
class Gram {
  readonly #rows: readonly Row[];
  /** (rows, rows), by id. */
  readonly #products: readonly Float64Array[];

  constructor(rows: readonly Row[]) {
    this.#rows = rows.slice();
    this.#products = rows.map(() => new Float64Array(rows.length));
    for (const row of rows) this.#computeAnew(row);
  }

  product(a: Row, b: Row): number {
    if (a.norm < SHORT && b.norm < SHORT) return this.#products[a.id][b.id];
    return scalarProduct(a.values, b.values, (a.norm * b.norm) ** 2);
  }

  /** row −= Σ factor·other */
  subtract(row: Row, multiples: readonly Multiple[]): void {
    let largest = row.norm;
    let areShort = row.norm < SHORT;
    subtractMultiples(row.values, multiples, ({ values }) => values);
    for (const { factor, other } of multiples) {
      largest += Math.abs(factor) * other.norm;
      areShort &&= other.norm < SHORT;
    }
    if (!areShort || largest >= LARGEST_SUM) {
      this.#computeAnew(row);
      return;
    }
    subtractMultiples(this.#products[row.id], multiples, ({ id }) => this.#products[id]);
    this.#finish(row);
  }

  #computeAnew(row: Row): void {
    const own = this.#products[row.id];
    for (const other of this.#rows) {
      if (other.norm < SHORT) own[other.id] = scalarProduct(row.values, other.values, 0);
    }
    this.#finish(row);
  }

  #finish(row: Row): void {
    const own = this.#products[row.id];
    own[row.id] = square(row.values);
    row.norm = Math.sqrt(own[row.id]);
    for (const [i, products] of this.#products.entries()) products[row.id] = own[i];
  }
}

/**
 * Reduces the rows in place: |mu_ij| ≤ 0.51 and delta·‖b*_{i-1}‖² ≤ ‖b*_i‖² + mu²·‖b*_{i-1}‖².
 */
export function lllReduce(basis: Float64Array[], delta = 0.99): GramSchmidt {
  const d = basis.length;
  const rows = basis.map(
    (values, id): Row => ({
      ...{ values, id, norm: Math.sqrt(square(values)), known: 0 },
      ...{ mu: new Float64Array(d), r: new Float64Array(d) },
    }),
  );
  const gram = new Gram(rows);
  for (let k = 0; k < d; ) {
    const row = rows[k];
    reduceSize(rows, gram, k);
    // s = ‖projection of b_k against the first i vectors‖²: how far forward b_k fits.
    let s = row.r[k];
    let place = k;
    while (place > 0) {
      const longer = s + row.mu[place - 1] * row.r[place - 1];
      if (delta * rows[place - 1].r[place - 1] <= longer) break;
      s = longer;
      place--;
    }
    if (place === k) {
      k++;
      continue;
    }
    rows.splice(place, 0, ...rows.splice(k, 1));
    for (let i = place; i < d; i++) rows[i].known = Math.min(rows[i].known, place);
    row.r[place] = place === 0 ? gram.product(row, row) : s;
    row.known = place;
    k = place + 1;
  }
  for (const [i, { values }] of rows.entries()) basis[i] = values;
  return { mu: rows.map(({ mu }) => mu), norms: Float64Array.from(rows, ({ r }, i) => r[i]) };
}

/** Makes |mu_kj| at most about a half for all j < k, and r_k right. Repeats until nothing changes. */
function reduceSize(rows: readonly Row[], gram: Gram, k: number): void {
  const row = rows[k];
  const { mu, r } = row;
  for (let round = 0; round < 64; round++) {
    for (let j = row.known; j < k; j++) {
      const other = rows[j];
      r[j] = gram.product(row, other) - sumOfProducts(other.mu, r, j);
      mu[j] = r[j] / other.r[j];
    }
    row.known = k;
    const multiples: Multiple[] = [];
    for (let j = k - 1; j >= 0; j--) {
      if (Math.abs(mu[j]) <= 0.51) continue;
      const factor = Math.round(mu[j]);
      const other = rows[j];
      subtractMultiple(mu, factor, other.mu, j);
      mu[j] -= factor;
      multiples.push({ factor, other });
    }
    if (multiples.length === 0) break;
    gram.subtract(row, multiples);
    // What was subtracted from mu had rounding errors: it is computed again from the exact products.
    row.known = 0;
  }
  r[k] = gram.product(row, row) - sumOfProducts(mu, r, k);
}

function sumOfProducts(a: Float64Array, b: Float64Array, count: number): number {
  let [s0, s1] = [0, 0];
  let i = 0;
  for (; i + 2 <= count; i += 2) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
  }
  if (i < count) s0 += a[i] * b[i];
  return s0 + s1;
}
