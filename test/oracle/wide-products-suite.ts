/** Sums of products of public elements with small integers, against the definition. */
import { describe, expect, it } from "vitest";
import { type KernelBuild, NTT_POLY_BYTES, RING_DEGREE } from "../../src/ring/kernels.ts";
import { EDGE_WORDS } from "./edge-words.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { innerProduct, negacyclicProduct, negacyclicProductBigInt, transposedProduct } from "./ring.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";

const N = RING_DEGREE;

/** Σ_j a_j·small_j mod 2^32 from the definition, transposed or not. */
export function wideOracle(
  terms: readonly (readonly [Uint32Array, Int16Array])[],
  transposed: boolean,
): Uint32Array {
  const sum = new Uint32Array(N);
  for (const [a, small] of terms) {
    const padded = new Int16Array(N);
    padded.set(small);
    const product = transposed ? transposedProduct(a, small) : negacyclicProduct(a, padded);
    for (let i = 0; i < N; i++) sum[i] += product[i];
  }
  return sum;
}

/** a with a·small, or its transpose, at coefficient 0 all of one sign: that of `word` read as a signed number. */
function aligned(word: number, small: Int16Array, transposed: boolean): Uint32Array {
  const a = new Uint32Array(N);
  // coefficient 0: Σ_i a_i·small_i transposed; else a_0·small_0 - Σ_{i > 0} a_(N-i)·small_i
  for (let i = 0; i < N; i++) {
    const negate = small[i] < 0 !== (!transposed && i > 0);
    a[transposed || i === 0 ? i : N - i] = negate ? -word : word;
  }
  return a;
}

export function wideProductsSuite(build: KernelBuild): void {
  const random = seededRandom(`wideProductsSuite ${build}`);

  describe(`wide products (${build})`, () => {
    it.each([
      [1, N, N],
      [1, 1456, N],
      [1, 1456, 1456],
      [1, 1, 1],
      [1, 0, 16],
      [2, 2047, 7],
      [3, 13, 1455],
      [5, N, 1],
      [2, 600, 0],
      [1, 255, 1535],
      [2, 256, 1536],
      [1, 257, 1537],
      [1, 511, 4],
      [3, 512, 1456],
      [1, 513, N],
      [1, 1023, 1456],
      [2, 1024, 1024],
      [1, 1025, 1456],
    ])("%i terms of %i integers, %i coefficients, added to what is there", (count, length, coefficients) => {
      for (const transposed of [false, true]) {
        const terms = Array.from(
          { length: count },
          () => [randomWords(random, N), randomIntegers(random, length, -300, 300)] as const,
        );
        const start = randomWords(random, coefficients);
        const exact = wideOracle(terms, transposed);
        const driver = new KernelDriver(build);
        expect(driver.wide(terms, transposed, start)).toEqual(start.map((word, i) => word + exact[i]));
        // nothing behind the last coefficient is written
        expect(driver.kernels.words(driver.kernels.allocate(16), 4)).toEqual(new Uint32Array(4));
      }
    });

    it("terms of different lengths: the blocks of a layer, the last one short", () => {
      const lengths = [N, 300, N, 611, 100];
      const terms = lengths.map(
        (length) => [randomWords(random, N), randomIntegers(random, length, -1500, 1500)] as const,
      );
      for (const transposed of [false, true]) {
        const got = new KernelDriver(build).wide(terms, transposed);
        expect(got).toEqual(wideOracle(terms, transposed));
      }
    });

    it("small integers transformed once give the same products with several elements", () => {
      for (const [length, coefficients] of [
        [1456, N],
        [N, 1001],
        [7, 2],
      ]) {
        const driver = new KernelDriver(build);
        const { kernels } = driver;
        const small = randomIntegers(random, length, -64, 64);
        const room = kernels.allocate(2 * NTT_POLY_BYTES);
        const bytes = driver.put(Int8Array.from(small));
        for (const [transposed, smallBytes] of [
          [false, 2],
          [true, 1],
          [false, 1],
          [true, 2],
        ] as const) {
          const from = smallBytes === 1 ? bytes : driver.put(small);
          const factor = kernels.transformSmall(from, length, room, smallBytes);
          const a = randomWords(random, N);
          const start = randomWords(random, coefficients);
          const out = driver.put(start);
          kernels.wideProductOf(driver.prepareWide(a, transposed), factor, out, coefficients);
          const exact = wideOracle([[a, small]], transposed);
          expect(driver.words(out, coefficients)).toEqual(start.map((word, i) => word + exact[i]));
        }
      }
    });

    it("no terms leave what is there", () => {
      const start = randomWords(random, 16);
      expect(new KernelDriver(build).wide([], false, start)).toEqual(start);
    });

    it.each(EDGE_WORDS)("every word %i, integers at the limits, one sign", (word) => {
      const a = new Uint32Array(N).fill(word);
      for (const value of [-2048, 2048, -1, 64]) {
        const terms = [[a, new Int16Array(N).fill(value)] as const];
        for (const transposed of [false, true]) {
          const got = new KernelDriver(build).wide(terms, transposed);
          expect(got).toEqual(wideOracle(terms, transposed));
        }
      }
    });

    it.each([0x80000000, 0x7fffffff, 0x80000001])(
      "‖small‖₁ = 2^22 and words ±%i arranged so that nothing cancels: sums up to 2^53",
      (word) => {
        const shapes: [string, number, () => Int16Array][] = [
          ["one term of 2048s", 1, () => new Int16Array(N).fill(2048)],
          ["one term of ±2048", 1, () => randomIntegers(random, N, 0, 1).map((bit) => 4096 * bit - 2048)],
          ["four terms of ±512", 4, () => randomIntegers(random, N, 0, 1).map((bit) => 1024 * bit - 512)],
          ["128 spikes", 1, () => new Int16Array(N).map((_, i) => (i % 16 === 0 ? -32768 : 0))],
        ];
        for (const [name, count, make] of shapes) {
          for (const transposed of [false, true]) {
            const terms = Array.from({ length: count }, () => {
              const small = make();
              return [aligned(word, small, transposed), small] as const;
            });
            const norm = terms.flatMap(([, small]) => [...small]).reduce((sum, v) => sum + Math.abs(v), 0);
            expect(norm, name).toBe(2 ** 22);
            const got = new KernelDriver(build).wide(terms, transposed);
            expect(got, `${name}${transposed ? ", transposed" : ""}`).toEqual(wideOracle(terms, transposed));
          }
        }
      },
    );

    it("the extremes do reach 2^53, as BigInt counts", () => {
      const small = new Int16Array(N).fill(-2048);
      const signed = [...aligned(0x80000001, small, true)].map((word) => BigInt.asIntN(32, BigInt(word)));
      const sum = signed.reduce((total, word, i) => total + word * BigInt(small[i]), 0n);
      expect(sum < 0n ? -sum : sum).toBe((2n ** 31n - 1n) * 2n ** 22n);
    });

    it("agrees with BigInt arithmetic on whole integers", () => {
      const a = randomWords(random, N);
      const small = new Int16Array(N);
      small.set(randomIntegers(random, 64, -32768, 32767));
      const exact = negacyclicProductBigInt([...a].map(BigInt), [...small].map(BigInt));
      const got = new KernelDriver(build).wide([[a, small]], false);
      expect([...got].map(BigInt)).toEqual(exact);
    }, 60_000);

    it("transposed is the transpose: small·(A·t) = t·(Aᵀ·small)", () => {
      const a = randomWords(random, N);
      const t = randomIntegers(random, N, -63, 64);
      const small = randomIntegers(random, 700, -500, 500);
      const left = innerProduct(small, new KernelDriver(build).wide([[a, t]], false).subarray(0, 700));
      expect(innerProduct(t, new KernelDriver(build).wide([[a, small]], true))).toBe(left);
    });

    it("gives what multiplyPublic gives for ternary secrets", () => {
      const a = randomWords(random, N);
      const s = randomIntegers(random, N, -1, 1);
      const driver = new KernelDriver(build);
      expect(driver.wide([[a, s]], false)).toEqual(driver.multiply(a, s));
    });
  });
}
