/** Slow ring arithmetic modulo 2^32 straight from the definitions: what the kernels are compared with. */

/** c = a·b in Z_{2^32}[X]/(X^N + 1), any N = a.length. Math.imul is exact mod 2^32. */
export function negacyclicProduct(a: Uint32Array, b: ArrayLike<number>): Uint32Array {
  const n = a.length;
  const c = new Uint32Array(n);
  for (let j = 0; j < n; j++) {
    const factor = b[j];
    if (factor === 0) continue;
    for (let i = 0; i < n - j; i++) c[i + j] += Math.imul(a[i], factor);
    for (let i = n - j; i < n; i++) c[i + j - n] -= Math.imul(a[i], factor);
  }
  return c;
}

/** The same with BigInt and no modular trick at all: the oracle's own oracle, for small N. */
export function negacyclicProductBigInt(a: readonly bigint[], b: readonly bigint[]): bigint[] {
  const c = a.map(() => 0n);
  for (const [i, x] of a.entries()) {
    for (const [j, y] of b.entries()) {
      const k = i + j;
      c[k % a.length] += k < a.length ? x * y : -x * y;
    }
  }
  return c.map((value) => BigInt.asUintN(32, value));
}

/** out_j = Σ_{i < small.length} small_i·C[i][j] mod 2^32, C[i][j] = coefficient i of a·X^j. */
export function transposedProduct(a: Uint32Array, small: ArrayLike<number>): Uint32Array {
  const n = a.length;
  const out = new Uint32Array(n);
  for (let i = 0; i < small.length; i++) {
    const factor = small[i];
    for (let j = 0; j <= i; j++) out[j] += Math.imul(factor, a[i - j]);
    for (let j = i + 1; j < n; j++) out[j] -= Math.imul(factor, a[n + i - j]);
  }
  return out;
}

/** Σ_k small_k·words_k mod 2^32, in BigInt. */
export function innerProduct(small: ArrayLike<number>, words: ArrayLike<number>): number {
  let sum = 0n;
  for (let k = 0; k < words.length; k++) sum += BigInt(small[k]) * BigInt(words[k]);
  return Number(BigInt.asUintN(32, sum));
}
