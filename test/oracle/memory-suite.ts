/** The allocator, the argument checks and the wiping of secrets. */
import { describe, expect, it } from "vitest";
import {
  type KernelBuild,
  RING_DEGREE,
  SPECTRUM_BYTES,
  TERNARY_RANDOM_BYTES,
} from "../../src/ring/kernels.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";

const N = RING_DEGREE;

export function memorySuite(build: KernelBuild): void {
  const random = seededRandom(`memorySuite ${build}`);

  describe(`memory (${build})`, () => {
    it("hands out aligned, zeroed, disjoint buffers and grows", () => {
      const { kernels } = new KernelDriver(build);
      let end = 0;
      for (const bytes of [1, 0, 15, 16, 17, 1 << 20, 3 << 20]) {
        const address = kernels.allocate(bytes);
        expect(address % 16).toBe(0);
        expect(address).toBeGreaterThanOrEqual(end);
        expect(kernels.bytes(address, bytes).every((byte) => byte === 0)).toBe(true);
        kernels.bytes(address, bytes).fill(255);
        end = address + bytes;
      }
    });

    it("says how much was asked for when the memory cannot grow", () => {
      const { kernels } = new KernelDriver(build);
      expect(() => kernels.allocate(2 ** 32)).toThrow(/cannot allocate 4294967296 bytes/);
      expect(() => kernels.allocate(-1)).toThrow(RangeError);
      expect(kernels.allocate(64)).toBeGreaterThan(0);
    });

    it("refuses addresses that were not handed out, and wrong sizes", () => {
      const { kernels } = new KernelDriver(build);
      const small = kernels.allocate(64);
      const outside = (small + (1 << 20)) as typeof small;
      expect(() => kernels.addErrors(small, 15, small)).toThrow(RangeError);
      expect(() => kernels.addUniform(small, 12, 7, small)).toThrow(RangeError);
      expect(() => kernels.addUniform(small, 8, 17, small)).toThrow(RangeError);
      expect(() => kernels.addUniform(small, 24, 7, small)).toThrow(RangeError);
      expect(() => kernels.addMarks(small, 8, 1, small, small)).toThrow(RangeError);
      expect(() => kernels.addMarks(small, 32, 1, small, small)).toThrow(RangeError);
      expect(() => kernels.addMarks(small, 16, 2 ** 25, small, small)).toThrow(RangeError);
      expect(() => kernels.addMarks(small, 16, 1, outside, small)).toThrow(RangeError);
      expect(() => kernels.addMarks(small, 16, 1, small, outside)).toThrow(RangeError);
      expect(() => kernels.sampleUniform(small, 4, 7, small)).toThrow(RangeError);
      expect(() => kernels.sampleUniform(small, 8, 16, small)).toThrow(RangeError);
      expect(() => kernels.sampleUniform(outside, 8, 7, small)).toThrow(RangeError);
      expect(() => kernels.sampleUniform(small, 8, 8, small, 1)).toThrow(RangeError);
      expect(() => kernels.scaleActivation(small, 17, 1, small)).toThrow(RangeError);
      expect(() => kernels.prepareElement(small, false, small)).toThrow(RangeError);
      const element = kernels.prepareElement(kernels.allocate(4 * N), true, kernels.allocate(SPECTRUM_BYTES));
      const last = kernels.allocate(64);
      expect(() => kernels.addProducts([{ element, small: last, count: 33 }], small, 4)).toThrow(RangeError);
      expect(() => kernels.addProducts([{ element, small, count: N + 1 }], small, 4)).toThrow(RangeError);
      expect(() => kernels.addProducts([{ element, small, count: 4 }], last, 17)).toThrow(RangeError);
      expect(() => kernels.addProducts([], small, N + 1)).toThrow(RangeError);
      expect(() => kernels.transformSmall(last, 1, last)).toThrow(RangeError);
      const spectrum = kernels.transformSmall(last, 32, kernels.allocate(SPECTRUM_BYTES));
      const end = kernels.allocate(16);
      expect(() => kernels.addProductOf(element, spectrum, end, 5)).toThrow(RangeError);
      expect(() => kernels.transformSmall(end, 9, element)).toThrow(RangeError);
      expect(() => kernels.transformSmall(end, 17, element, 1)).toThrow(RangeError);
      expect(() => kernels.expandRandom(small, 0, 0, small, 100)).toThrow(RangeError);
      expect(() => kernels.packTop(small, 4, 33, small)).toThrow(RangeError);
      expect(() => kernels.unpackTop(small, 4, 0, small)).toThrow(RangeError);
      expect(() => kernels.squaredNorm(outside, 1)).toThrow(RangeError);
      expect(() => kernels.squaredNorm(16 as typeof small, 1)).toThrow(RangeError);
      expect(() => kernels.squaredNorm(small, Number.NaN)).toThrow(RangeError);
    });

    it("keeps nothing of a secret in its own buffers after wipeScratch", () => {
      const driver = new KernelDriver(build);
      driver.multiply(randomWords(random, N), randomIntegers(random, N, -1, 1));
      for (const transposed of [false, true]) {
        driver.addProducts([[randomWords(random, N), randomIntegers(random, N, -64, 64)]], transposed);
      }
      const bytes = driver.kernels.allocate(TERNARY_RANDOM_BYTES);
      driver.kernels.sampleTernary(bytes, TERNARY_RANDOM_BYTES, driver.kernels.allocate(2 * N));
      // The control: there is something to wipe.
      expect(driver.kernels.scratch().some((byte) => byte !== 0)).toBe(true);
      driver.kernels.wipeScratch();
      expect(driver.kernels.scratch().every((byte) => byte === 0)).toBe(true);
    });
  });
}
