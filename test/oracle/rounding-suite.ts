/** How far the transforms are from integers before they are rounded: docs/parameters.md, *Products in floating point*. */
import { describe, expect, it } from "vitest";
import { type KernelBuild, RING_DEGREE } from "../../src/ring/kernels.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";

const N = RING_DEGREE;

/** a·small over the integers. Exact in f64: partial sums stay below 2^31·‖small‖₁ ≤ 2^53. */
function integerProduct(a: Int32Array, small: Int16Array): Float64Array {
  const c = new Float64Array(N);
  for (const [j, x] of small.entries()) {
    for (let i = 0; i < N - j; i++) c[i + j] += a[i] * x;
    for (let i = N - j; i < N; i++) c[i + j - N] -= a[i] * x;
  }
  return c;
}

/** What was rounded last: 512 pairs of complex numbers, two real and then two imaginary parts; coefficients i and i + N/2. */
function unrounded({ kernels }: KernelDriver): Float64Array {
  const scratch = kernels.scratch();
  const pairs = new Float64Array(scratch.buffer, scratch.byteOffset, N);
  return Float64Array.from({ length: N }, (_, i) => {
    const j = i % (N / 2);
    return pairs[4 * (j >> 1) + (j & 1) + (i < N / 2 ? 0 : 2)];
  });
}

/** Row i of the matrix of multiplication by a, as integers of this length. */
function along(a: Int32Array, i: number, length: number): Int16Array {
  const row = Array.from({ length: N }, (_, j) => (j <= i ? a[i - j] : -a[N + i - j]));
  const scale = length / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
  return Int16Array.from(row, (v) => Math.round(v * scale));
}

export function roundingSuite(build: KernelBuild): void {
  const random = seededRandom(`roundingSuite ${build}`);
  const signs = (a: Int32Array, i: number, plus: number, minus: number) =>
    along(a, i, 2 ** 13).map((v) => (v < 0 ? minus : plus));

  describe(`what is rounded away (${build})`, () => {
    // Three to five times what was measured at most. A root or a pass that has lost some bits is seen here, and nowhere else.
    it.each<[string, number, (a: Int32Array) => Int16Array]>([
      ["s, ternary", 2 ** -11, () => randomIntegers(random, N, -1, 1)],
      ["s along a row of a", 2 ** -9, (a) => signs(a, 700, 1, -1)],
      ["S", 2 ** -6, () => randomIntegers(random, 1456, -63, 64)],
      ["S along a row of a", 2 ** -3, (a) => signs(a, 1500, 64, -63).subarray(0, 1456)],
      ["x̂", 2 ** -5, () => randomIntegers(random, N, -149, 149)],
      ["x̂, one entry", 2 ** -5, () => new Int16Array(N).fill(-3901, 1023, 1024)],
      ["x̂ along a row of a", 2 ** -2, (a) => along(a, 1024, 3923)],
    ])("%s: at most %d", (_, most, make) => {
      for (let run = 0; run < 3; run++) {
        const a = randomWords(random, N);
        const signed = new Int32Array(a.buffer, a.byteOffset, N);
        const small = make(signed);
        const driver = new KernelDriver(build);
        const got = driver.multiply(a, small);
        const exact = integerProduct(signed, small);
        expect([...got]).toEqual([...exact].map((v) => Number(BigInt.asUintN(32, BigInt(v)))));
        const off = unrounded(driver).map((v, i) => Math.abs(v - exact[i]));
        expect(Math.max(...off)).toBeLessThan(most);
        expect(Math.max(...off)).toBeGreaterThan(0); // the control: these are not the rounded ones
      }
    });
  });
}
