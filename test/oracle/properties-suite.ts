/** The algebra that the kernels must obey, on generated inputs. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KernelBuild, RING_DEGREE } from "../../src/ring/kernels.ts";
import { KernelDriver } from "./kernel-driver.ts";
import * as packing from "./packing.ts";
import { innerProduct, negacyclicProduct } from "./ring.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";
import { sumOracle } from "./sums-of-products-suite.ts";

const N = RING_DEGREE;

/** A seed and a shape: uniform values, or runs of one extreme value, which are what breaks ranges. */
const element = fc.tuple(fc.string(), fc.constantFrom("uniform", "extremes")).map(([seed, shape]) => {
  const words = randomWords(seededRandom(`element ${seed}`), N);
  const extremes = [0x80008000, 0x7fff7fff, 0x80007fff, 0x7fff8000];
  return shape === "uniform" ? words : words.map((word) => extremes[word & 3]);
});
const secret = fc.string().map((seed) => randomIntegers(seededRandom(`secret ${seed}`), N, -1, 1));
const count = fc.integer({ min: 0, max: N });

export function propertiesSuite(build: KernelBuild, runs: number): void {
  const options = { numRuns: runs };

  describe(`properties (${build})`, () => {
    it("a product is the first coefficients of the negacyclic convolution", () => {
      fc.assert(
        fc.property(element, secret, count, (a, s, n) => {
          expect(new KernelDriver(build).multiply(a, s, n)).toEqual(negacyclicProduct(a, s).subarray(0, n));
        }),
        options,
      );
    });

    it("is linear: (a + b)·s = a·s + b·s, and a·(-s) = -(a·s)", () => {
      fc.assert(
        fc.property(element, element, secret, (a, b, s) => {
          const driver = new KernelDriver(build);
          const as = driver.multiply(a, s);
          const bs = driver.multiply(b, s);
          const sum = driver.multiply(
            a.map((word, i) => word + b[i]),
            s,
          );
          expect(sum).toEqual(as.map((word, i) => word + bs[i]));
          expect(
            driver.multiply(
              a,
              s.map((value) => -value),
            ),
          ).toEqual(as.map((word) => -word));
        }),
        options,
      );
    });

    it("addProducts adds the sum of the products, transposed or not", () => {
      const term = fc.record({
        a: element,
        seed: fc.string(),
        limit: fc.constantFrom(1, 64, 4000, 32767),
        length: fc.oneof(count, fc.constantFrom(0, N)),
      });
      const shape = fc.tuple(fc.array(term, { minLength: 1, maxLength: 4 }), fc.boolean(), count);
      fc.assert(
        fc.property(shape, ([given, transposed, coefficients]) => {
          const terms = given.map(({ a, seed, limit, length }) => {
            // ‖small‖₂² ≤ 2^27 over all terms
            const held = Math.min(
              limit,
              Math.floor(Math.sqrt(2 ** 27 / (given.length * Math.max(1, length)))),
            );
            return [a, randomIntegers(seededRandom(`small ${seed}`), length, -held, held)] as const;
          });
          const got = new KernelDriver(build).addProducts(terms, transposed, new Uint32Array(coefficients));
          expect(got).toEqual(sumOracle(terms, transposed).subarray(0, coefficients));
        }),
        options,
      );
    });

    it("packing any words at any width", () => {
      const words = fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { maxLength: 100 });
      fc.assert(
        fc.property(words, fc.integer({ min: 1, max: 32 }), (values, bits) => {
          const driver = new KernelDriver(build);
          const packed = driver.pack(Uint32Array.from(values), bits);
          expect(packed).toEqual(packing.packTop(values, values.length, bits));
          const back = driver.unpack(packed, values.length, bits);
          expect(back).toEqual(packing.unpackTop(packed, values.length, bits));
          expect(driver.pack(back, bits)).toEqual(packed);
        }),
        options,
      );
    });

    it("inner products of any shape", () => {
      const shape = fc.record({
        seed: fc.string(),
        planeRows: fc.integer({ min: 1, max: 5 }),
        smallRows: fc.integer({ min: 1, max: 70 }),
        blocks: fc.integer({ min: 0, max: 5 }),
      });
      fc.assert(
        fc.property(shape, ({ seed, planeRows, smallRows, blocks }) => {
          const random = seededRandom(`rows ${seed}`);
          const length = 16 * blocks;
          const planes = Array.from({ length: planeRows }, () => randomWords(random, length));
          const small = Array.from({ length: smallRows }, () =>
            randomIntegers(random, length, -32768, 32767),
          );
          const expected = small.flatMap((row) => planes.map((plane) => innerProduct(row, plane)));
          expect([...new KernelDriver(build).innerProducts(planes, small, length)]).toEqual(expected);
        }),
        options,
      );
    });
  });
}
