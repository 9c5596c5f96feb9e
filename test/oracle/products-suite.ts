/** Products of public elements with ternary secrets, against the definition. */
import { describe, expect, it } from "vitest";
import { type KernelBuild, RING_DEGREE } from "../../src/ring/kernels.ts";
import { EDGE_WORDS } from "./edge-words.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { negacyclicProduct, negacyclicProductBigInt } from "./ring.ts";
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
      // coefficient N-1 of a·s is Σ a_i·s_(N-1-i): 2^31·N in absolute value for the first of these
      const driver = new KernelDriver(build);
      const s = randomIntegers(random, N, 0, 1).map((bit) => 2 * bit - 1);
      for (const [plus, minus] of [
        [0x7fffffff, 0x80000000],
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
}
