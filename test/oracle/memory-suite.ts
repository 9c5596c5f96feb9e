/** The allocator, the argument checks and the wiping of secrets. */
import { describe, expect, it } from "vitest";
import { type KernelBuild, RING_DEGREE } from "../../src/ring/kernels.ts";
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
      const outside = (small + 64) as typeof small;
      expect(() => kernels.preparePublicElement(small, small)).toThrow(RangeError);
      expect(() => kernels.addErrors(small, 15, small)).toThrow(RangeError);
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
      driver.transposed(randomWords(random, N), randomIntegers(random, N, -512, 512), 10);
      driver.kernels.wipeScratch();
      expect(driver.kernels.scratch().every((byte) => byte === 0)).toBe(true);
    });
  });
}
