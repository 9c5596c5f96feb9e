/** Sums of products of public elements with small integers, against the definition. */
import { describe, expect, it } from "vitest";
import { type KernelBuild, RING_DEGREE, SPECTRUM_BYTES } from "../../src/ring/kernels.ts";
import { EDGE_WORDS } from "./edge-words.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { innerProduct, negacyclicProduct, negacyclicProductBigInt, transposedProduct } from "./ring.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";

const N = RING_DEGREE;

/** Σ_j a_j·small_j mod 2^32 from the definition, transposed or not. */
export function sumOracle(
  terms: readonly (readonly [Uint32Array, Int16Array])[],
  transposed: boolean,
): Uint32Array {
  const sum = new Uint32Array(N);
  // Elements that the same integers multiply are added first: the product is linear.
  const elements = new Map<Int16Array, Uint32Array>();
  for (const [a, small] of terms) {
    const before = elements.get(small);
    elements.set(small, before ? before.map((word, i) => word + a[i]) : a);
  }
  for (const [small, a] of elements) {
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

export function sumsOfProductsSuite(build: KernelBuild): void {
  const random = seededRandom(`sumsOfProductsSuite ${build}`);

  describe(`sums of products (${build})`, () => {
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
          () => [randomWords(random, N), randomIntegers(random, length, -90, 90)] as const,
        );
        const start = randomWords(random, coefficients);
        const exact = sumOracle(terms, transposed);
        const driver = new KernelDriver(build);
        expect(driver.addProducts(terms, transposed, start)).toEqual(start.map((word, i) => word + exact[i]));
        // nothing behind the last coefficient is written
        expect(driver.kernels.words(driver.kernels.allocate(16), 4)).toEqual(new Uint32Array(4));
      }
    });

    it("terms of different lengths: the blocks of a layer, the last one short", () => {
      const lengths = [N, 300, N, 611, 100];
      const terms = lengths.map(
        (length) => [randomWords(random, N), randomIntegers(random, length, -100, 100)] as const,
      );
      for (const transposed of [false, true]) {
        const got = new KernelDriver(build).addProducts(terms, transposed);
        expect(got).toEqual(sumOracle(terms, transposed));
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
        const room = kernels.allocate(SPECTRUM_BYTES);
        const bytes = driver.put(Int8Array.from(small));
        for (const [transposed, smallBytes] of [
          [false, 2],
          [true, 1],
          [false, 1],
          [true, 2],
        ] as const) {
          const from = smallBytes === 1 ? bytes : driver.put(small);
          const spectrum = kernels.transformSmall(from, length, room, smallBytes);
          const a = randomWords(random, N);
          const start = randomWords(random, coefficients);
          const out = driver.put(start);
          kernels.addProductOf(driver.prepareElement(a, transposed), spectrum, out, coefficients);
          const exact = sumOracle([[a, small]], transposed);
          expect(driver.words(out, coefficients)).toEqual(start.map((word, i) => word + exact[i]));
        }
      }
    });

    it("no terms leave what is there", () => {
      const start = randomWords(random, 16);
      expect(new KernelDriver(build).addProducts([], false, start)).toEqual(start);
    });

    it.each(EDGE_WORDS)("every word %i, integers of one sign", (word) => {
      const a = new Uint32Array(N).fill(word);
      for (const value of [-7, 8, -1, 3]) {
        const terms = [[a, new Int16Array(N).fill(value)] as const];
        for (const transposed of [false, true]) {
          const got = new KernelDriver(build).addProducts(terms, transposed);
          expect(got).toEqual(sumOracle(terms, transposed));
        }
      }
    });

    // 2^-46·‖a‖₂·Σ_j ‖small_j‖₂ = 1/2: up to here no error of the transforms can matter.
    it.each([0x80000000, 0x7fffffff, 0x80000001])(
      "words ±%i arranged so that nothing cancels, as long as is exact for every a",
      (word) => {
        const signs = () => randomIntegers(random, N, 0, 1).map((bit) => 2 * bit - 1);
        const shapes: [string, number, () => Int16Array][] = [
          ["one term of 8s", 1, () => new Int16Array(N).fill(8)],
          ["one term of ±8", 1, () => signs().map((sign) => 8 * sign)],
          ["four terms of ±2", 4, () => signs().map((sign) => 2 * sign)],
          ["128 spikes", 1, () => new Int16Array(N).map((_, i) => (i % 16 === 0 ? -32 : 0))],
          ["two spikes", 1, () => new Int16Array(N).map((_, i) => (i % 1024 === 77 ? 256 : 0))],
        ];
        for (const [name, count, make] of shapes) {
          for (const transposed of [false, true]) {
            const terms = Array.from({ length: count }, () => {
              const small = make();
              return [aligned(word, small, transposed), small] as const;
            });
            const lengths = terms.map(([, small]) => Math.sqrt(small.reduce((sum, v) => sum + v * v, 0)));
            expect(
              lengths.reduce((sum, length) => sum + length, 0),
              name,
            ).toBeCloseTo(8 * Math.sqrt(N), 6);
            const got = new KernelDriver(build).addProducts(terms, transposed);
            expect(got, `${name}${transposed ? ", transposed" : ""}`).toEqual(sumOracle(terms, transposed));
          }
        }
      },
    );

    it.each([
      ["256s", 1, (): number => 256],
      ["±256", 1, (i: number) => (i % 3 === 0 ? 256 : -256)],
      ["a spike of 11585", 1, (i: number) => (i === 1700 ? -11_585 : 0)],
      ["two, one in each half", 1, (i: number) => (i % 1024 === 77 ? 8191 : 0)],
      ["one large coordinate in a thousand", 1, (i: number) => (i === 500 ? 3900 : i % 3)],
      ["powers of two", 1, (i: number) => (i % 7 === 0 ? 1 << (i % 10) : 0)],
      ["a sine", 1, (i: number) => Math.round(360 * Math.sin(i / 5))],
      ["64 terms of 32s", 64, (): number => 32],
    ] as const)("uniform words, ‖small‖₂² up to 2^27: %s", (_, count, shape) => {
      const small = Int16Array.from({ length: N }, (_, i): number => shape(i));
      for (const transposed of [false, true]) {
        const terms = Array.from({ length: count }, () => [randomWords(random, N), small] as const);
        expect(new KernelDriver(build).addProducts(terms, transposed)).toEqual(sumOracle(terms, transposed));
      }
    });

    it("agrees with BigInt arithmetic on whole integers", () => {
      const a = randomWords(random, N);
      const small = new Int16Array(N);
      small.set(randomIntegers(random, 64, -700, 700));
      const exact = negacyclicProductBigInt([...a].map(BigInt), [...small].map(BigInt));
      const got = new KernelDriver(build).addProducts([[a, small]], false);
      expect([...got].map(BigInt)).toEqual(exact);
    }, 60_000);

    it("transposed is the transpose: small·(A·t) = t·(Aᵀ·small)", () => {
      const a = randomWords(random, N);
      const t = randomIntegers(random, N, -63, 64);
      const small = randomIntegers(random, 700, -300, 300);
      const left = innerProduct(small, new KernelDriver(build).addProducts([[a, t]], false).subarray(0, 700));
      expect(innerProduct(t, new KernelDriver(build).addProducts([[a, small]], true))).toBe(left);
    });
  });
}
