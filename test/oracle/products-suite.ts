/** Products of public elements with secrets and weights, against the definition. */
import { describe, expect, it } from "vitest";
import { type KernelBuild, RING_DEGREE } from "../../src/ring/kernels.ts";
import { EDGE_WORDS } from "./edge-words.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { innerProduct, negacyclicProduct, negacyclicProductBigInt, transposedProduct } from "./ring.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";

const N = RING_DEGREE;

function filled(value: number): Uint32Array {
  return new Uint32Array(N).fill(value);
}

export function productsSuite(build: KernelBuild): void {
  const random = seededRandom(`productsSuite ${build}`);

  describe("oracle", () => {
    it("agrees with the BigInt definition", () => {
      const a = randomWords(random, 32);
      const b = randomIntegers(random, 32, -32768, 32767);
      const exact = negacyclicProductBigInt([...a].map(BigInt), [...b].map(BigInt));
      expect([...negacyclicProduct(a, b)].map(BigInt)).toEqual(exact);
    });
  });

  describe(`public products (${build})`, () => {
    it("a·s is the negacyclic convolution", () => {
      const driver = new KernelDriver(build);
      const a = randomWords(random, N);
      const s = randomIntegers(random, N, -1, 1);
      expect(driver.multiply(a, s)).toEqual(negacyclicProduct(a, s));
    });

    it.each(EDGE_WORDS)("a·s at the limits: every word %i, secrets of one sign", (word) => {
      const driver = new KernelDriver(build);
      for (const sign of [1, -1]) {
        const s = new Int16Array(N).fill(sign);
        expect(driver.multiply(filled(word), s)).toEqual(negacyclicProduct(filled(word), s));
      }
    });

    it("a·s when every term of a coefficient has one sign", () => {
      // coefficient N-1 of a·s is Σ a_i·s_(N-1-i): 2^15·N in absolute value for each half
      const driver = new KernelDriver(build);
      const s = randomIntegers(random, N, 0, 1).map((bit) => 2 * bit - 1);
      for (const [plus, minus] of [
        [0x7fff8000, 0x80007fff],
        [0x80008000, 0x7fff7fff],
      ]) {
        const a = Uint32Array.from(s.slice().reverse(), (sign) => (sign > 0 ? plus : minus));
        expect(driver.multiply(a, s)).toEqual(negacyclicProduct(a, s));
      }
    });

    it.each([0, 1, 2, 3, 5, 896, 1023, 1024, 1025, 1537, 2047])(
      "the first %i coefficients, and no more",
      (count) => {
        const driver = new KernelDriver(build);
        const a = randomWords(random, N);
        const s = randomIntegers(random, N, -1, 1);
        const got = driver.multiply(a, s, count);
        expect(got).toEqual(negacyclicProduct(a, s).subarray(0, count));
        const { kernels } = driver;
        expect(kernels.words(kernels.allocate(16), 4)).toEqual(new Uint32Array(4));
      },
    );

    it("X^N = -1, and products by 1 and X^k only move coefficients", () => {
      const driver = new KernelDriver(build);
      const a = randomWords(random, N);
      for (const k of [0, 1, 2, 3, 4, 7, 8, 512, 1024, 2047]) {
        const s = new Int16Array(N);
        s[k] = 1;
        expect(driver.multiply(a, s)).toEqual(
          Uint32Array.from(a, (_, i) => (i >= k ? a[i - k] : -a[N + i - k])),
        );
      }
    });
  });

  describe(`transposed products (${build})`, () => {
    it.each([
      [1, N],
      [6, N],
      [7, N],
      [10, N],
      [10, 1000],
      [10, 1],
      [10, 0],
      [12, 2047],
      [13, N],
      [13, 513],
    ])("%i-bit integers, %i of them, added to what is there", (bits, count) => {
      const driver = new KernelDriver(build);
      const a = randomWords(random, N);
      const start = randomWords(random, N);
      const limit = 2 ** (bits - 1);
      const small = randomIntegers(random, count, -limit, limit);
      const expected = transposedProduct(a, small).map((value, j) => value + start[j]);
      expect(driver.transposed(a, small, bits, start)).toEqual(expected);
    });

    it.each(EDGE_WORDS)("all weights at the limits: every word %i", (word) => {
      const driver = new KernelDriver(build);
      for (const bits of [1, 6, 10, 12, 13]) {
        for (const sign of [1, -1]) {
          const small = new Int16Array(N).fill(sign * 2 ** (bits - 1));
          expect(driver.transposed(filled(word), small, bits)).toEqual(
            transposedProduct(filled(word), small),
          );
        }
      }
    });

    it("digits and parts all at their limits with one sign", () => {
      // parts -2^10, -2^10, -2^9 and digits -32, -32 in the arrangement in which nothing cancels
      const driver = new KernelDriver(build);
      const low = 0 - 2 ** 10 - 2 ** 21;
      for (const word of [low >>> 0, (low - 2 ** 31) >>> 0, -low >>> 0]) {
        for (const weight of [-32 - 32 * 64, 31 + 32 * 64, 2048 - 32]) {
          const small = new Int16Array(N).fill(weight);
          const a = filled(word);
          // out_(N-1) takes a_(i-N+1) with a minus sign wherever i < N-1
          for (let i = 1; i < N; i += 2) a[i] = -a[i];
          expect(driver.transposed(a, small, 13)).toEqual(transposedProduct(a, small));
        }
      }
    });

    it("is the transpose of multiplyPublic: small·(C·s) = (small·C)·s", () => {
      const driver = new KernelDriver(build);
      const a = randomWords(random, N);
      const s = randomIntegers(random, N, -1, 1);
      const small = randomIntegers(random, 700, -512, 512);
      const left = innerProduct(small, driver.multiply(a, s, 700));
      expect(innerProduct(s, driver.transposed(a, small, 10))).toBe(left);
    });

    it("notices that an element has been replaced at the same address", () => {
      const { kernels } = new KernelDriver(build);
      const words = kernels.allocate(4 * N);
      const element = kernels.allocate(16 * N * 2);
      const small = kernels.allocate(16);
      const out = kernels.allocate(4 * N);
      kernels.shorts(small, 1)[0] = 3;
      for (const a of [randomWords(random, N), randomWords(random, N)]) {
        kernels.words(words, N).set(a);
        kernels.wipe(out, 4 * N);
        const prepared = kernels.preparePublicElement(words, element);
        kernels.transposedProduct(prepared, small, 1, 4, out);
        expect(kernels.words(out, N)).toEqual(transposedProduct(a, [3]));
      }
    });
  });
}
