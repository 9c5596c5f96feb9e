/**
 * Z_2^32[X]/(X^N + 1) in plain loops, any N: for the attacks and the layers that they break. The product's kernels are
 * built for one N, and nothing here is used by them.
 */

/** a·b; u32 words, O(N²). */
export function multiplyNegacyclic(a: ArrayLike<number>, b: ArrayLike<number>): Uint32Array {
  const n = a.length;
  // Twice as long, so that the inner loop has no branch: the upper half comes back with the other sign.
  const wide = new Int32Array(2 * n);
  const right = Int32Array.from({ length: n }, (_, i) => b[i] | 0);
  for (let i = 0; i < n; i++) {
    const factor = a[i] | 0;
    if (factor === 0) continue;
    for (let j = 0; j < n; j++) wide[i + j] += Math.imul(factor, right[j]);
  }
  const out = new Uint32Array(n);
  for (let i = 0; i < n; i++) out[i] = wide[i] - wide[i + n];
  return out;
}

/** a(X^−1): what multiplies from the other side, C·s against W·C. */
export function conjugate(a: ArrayLike<number>): Uint32Array {
  const n = a.length;
  const out = new Uint32Array(n);
  out[0] = a[0];
  for (let i = 1; i < n; i++) out[n - i] = -a[i];
  return out;
}

/** Units are the elements with an odd sum: mod 2 the ring has the one root X = 1. */
export function isUnit(a: ArrayLike<number>): boolean {
  let parity = 0;
  for (let i = 0; i < a.length; i++) parity ^= a[i] & 1;
  return parity === 1;
}

/**
 * a^−1 by the tower of norms: a(X)·a(−X) is a polynomial in X², an element of the ring of half the degree.
 *
 * @throws RangeError if a is not a unit
 */
export function invert(a: ArrayLike<number>): Uint32Array {
  const n = a.length;
  if (!isUnit(a)) throw new RangeError("the element has no inverse");
  if (n === 1) {
    // Newton: each step doubles the bits that are right; an odd x is its own inverse mod 8.
    let inverse = a[0];
    for (let step = 0; step < 5; step++) {
      inverse = Math.imul(inverse, 2 - Math.imul(a[0], inverse));
    }
    return Uint32Array.of(inverse);
  }
  const mirrored = Uint32Array.from({ length: n }, (_, i) => (i % 2 === 0 ? a[i] : -a[i]));
  const norm = multiplyNegacyclic(a, mirrored).filter((_, i) => i % 2 === 0);
  const inner = invert(norm);
  const spread = new Uint32Array(n);
  for (let i = 0; i < inner.length; i++) spread[2 * i] = inner[i];
  return multiplyNegacyclic(mirrored, spread);
}
