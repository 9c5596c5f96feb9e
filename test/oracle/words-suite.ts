/** Floats into words, words into bits, rows times rows: against the oracle. */
import { describe, expect, it } from "vitest";
import { toFloat16, widenF16 } from "../../src/base/float16.ts";
import { at, type KernelBuild, packedBytes } from "../../src/ring/kernels.ts";
import { EDGE_WORDS } from "./edge-words.ts";
import { KernelDriver } from "./kernel-driver.ts";
import * as packing from "./packing.ts";
import { innerProduct } from "./ring.ts";
import { randomIntegers, randomWords, seededRandom } from "./seeded-random.ts";

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest === 0.5) return floor % 2 === 0 ? floor : floor + 1;
  return rest < 0.5 ? floor : floor + 1;
}

/** [count][length] as the kernel reads it: [length / 16][count][16]. */
function inTiles(columns: Uint16Array, count: number): Uint16Array {
  const length = columns.length / Math.max(1, count);
  const tiles = new Uint16Array(columns.length);
  for (const [at, half] of columns.entries()) {
    const [r, i] = [Math.floor(at / length), at % length];
    tiles[Math.floor(i / 16) * 16 * count + r * 16 + (i % 16)] = half;
  }
  return tiles;
}

function repeated(row: Float32Array, times: number): Float32Array {
  return Float32Array.from({ length: times * row.length }, (_, i) => row[i % row.length]);
}

export function wordsSuite(build: KernelBuild): void {
  const random = seededRandom(`wordsSuite ${build}`);

  describe(`columns (${build})`, () => {
    it.each([
      [1, 16, 1],
      [8, 4608, 1],
      [8, 4608, 4],
      [24, 32, 7],
      [3, 48, 13],
      [0, 16, 5],
    ])("combines %i columns of %i entries for %i vectors", (count, length, vectors) => {
      const driver = new KernelDriver(build);
      const small = (word: number) => word / 2 ** 31 - 1;
      const halves = toFloat16(Float32Array.from(randomWords(random, count * length), small));
      const columns = widenF16(halves);
      const factors = Float32Array.from(randomWords(random, vectors * count), small);
      const out = driver.put(new Float32Array(vectors * length));
      const shape = { count, length, vectors };
      driver.kernels.combineColumns(driver.put(inTiles(halves, count)), driver.put(factors), shape, out);
      const got = driver.kernels.floats(out, vectors * length);
      for (let v = 0; v < vectors; v++) {
        for (let i = 0; i < length; i++) {
          let exact = 0;
          for (let r = 0; r < count; r++) exact += factors[v * count + r] * columns[r * length + i];
          expect(Math.abs(got[v * length + i] - exact)).toBeLessThan(1e-5);
        }
      }
    });

    it("reads every finite binary16 number exactly, for one vector and for several", () => {
      const driver = new KernelDriver(build);
      const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter(
        (half) => (half & 0x7fff) < 0x7c00,
      );
      const columns = driver.put(halves);
      for (const vectors of [1, 4, 5]) {
        const out = driver.put(new Float32Array(vectors * halves.length));
        const shape = { count: 1, length: halves.length, vectors };
        driver.kernels.combineColumns(columns, driver.put(new Float32Array(vectors).fill(1)), shape, out);
        // What is added to a zero loses the sign of a zero.
        const expected = widenF16(halves).map((value) => value + 0);
        for (let v = 0; v < vectors; v++) {
          const row = driver.kernels.floats(at(out, 4 * v * halves.length), halves.length);
          expect(row.every((value, i) => value === expected[i])).toBe(true);
        }
      }
    });

    it.each([1, 4])("adds to what is there, %i vectors", (vectors) => {
      const driver = new KernelDriver(build);
      // One tile.
      const columns = driver.put(toFloat16(Float32Array.from({ length: 32 }, (_, i) => i)));
      const factors = driver.put(Float32Array.from({ length: 2 * vectors }, (_, i) => (i % 2 ? 0.5 : 2)));
      const row = Float32Array.from({ length: 16 }, (_, i) => (i === 7 ? Number.NaN : 100 * i));
      const out = driver.put(repeated(row, vectors));
      driver.kernels.combineColumns(columns, factors, { count: 2, length: 16, vectors }, out, true);
      const expected = Float32Array.from({ length: 16 }, (_, i) => 100 * i + 2 * i + 0.5 * (16 + i));
      expected[7] = 0;
      expect(driver.kernels.floats(out, 16 * vectors)).toEqual(repeated(expected, vectors));
    });

    it.each([1, 4])("a sum that is not finite becomes 0, %i vectors", (vectors) => {
      const driver = new KernelDriver(build);
      const columns = new Float32Array(16).fill(60000);
      columns[6] = 2 ** -24;
      const factors = driver.put(new Float32Array(vectors).fill(1e38));
      const out = driver.put(new Float32Array(16 * vectors));
      const shape = { count: 1, length: 16, vectors };
      driver.kernels.combineColumns(driver.put(toFloat16(columns)), factors, shape, out);
      const expected = new Float32Array(16);
      expected[6] = Math.fround(1e38) * 2 ** -24;
      expect(driver.kernels.floats(out, 16 * vectors)).toEqual(repeated(expected, vectors));
    });
  });

  describe(`activations (${build})`, () => {
    it.each([0, 1, 2, 3, 4, 5, 896, 4099])("squared norm of %i floats", (n) => {
      const driver = new KernelDriver(build);
      const x = Float32Array.from(randomWords(random, n), (word) => (word / 2 ** 31 - 1) * 50);
      const exact = x.reduce((sum, value) => sum + value * value, 0);
      const got = driver.kernels.squaredNorm(driver.put(x), n);
      expect(Math.abs(got - exact)).toBeLessThanOrEqual(1e-12 * exact);
    });

    it("NaN and infinity propagate into the norm", () => {
      const driver = new KernelDriver(build);
      for (const [bad, expected] of [
        [Number.NaN, Number.NaN],
        [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
        [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
      ]) {
        for (const at of [0, 3, 4, 6]) {
          const x = new Float32Array(7).fill(1);
          x[at] = bad;
          expect(driver.kernels.squaredNorm(driver.put(x), 7)).toBe(expected);
        }
      }
    });

    const scaled = (x: Float32Array, scale: number): number[] => {
      const driver = new KernelDriver(build);
      const out = driver.kernels.allocate(2 * x.length);
      driver.kernels.shorts(out, x.length).fill(0x5555);
      driver.kernels.scaleActivation(driver.put(x), x.length, scale, out);
      // nothing behind the last is written
      expect(driver.kernels.shorts(driver.kernels.allocate(16), 8)).toEqual(new Int16Array(8));
      return [...driver.kernels.shorts(out, x.length)];
    };

    it.each([0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 896, 4099])("%i scaled floats are integers, nearest", (n) => {
      const x = Float32Array.from(randomWords(random, n), (word) => word / 2 ** 31 - 1);
      for (const scale of [1, 3901.123, -32767, 1e-30]) {
        expect(scaled(x, scale)).toEqual([...x].map((value) => roundHalfEven(scale * value) + 0));
      }
    });

    it("rounds ties to even, in every lane and in the rest", () => {
      const ties = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 0, -0, 32766.5, -32766.5];
      const even = [0, 2, 2, 0, -2, -2, 0, 0, 0, 32766, -32766];
      for (let shift = 0; shift < ties.length; shift++) {
        const turn = (values: number[]) => [...values.slice(shift), ...values.slice(0, shift)];
        expect(scaled(Float32Array.from(turn(ties)), 1).map((value) => value + 0)).toEqual(turn(even));
      }
      // 3.5·(1 - 2^-40), which float32 does not hold: c·x is rounded once
      expect(scaled(Float32Array.of(1 + 2 ** -20), 3.5 - 3.5 * 2 ** -20)).toEqual([3]);
    });

    it("scale 0 gives 0, whatever x holds", () => {
      const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff, 0x7fffffff, 0x7fc00000).buffer);
      const x = Float32Array.of(Number.POSITIVE_INFINITY, 3e38, Number.NEGATIVE_INFINITY, ...nan, 1, ...nan);
      for (const scale of [0, -0]) {
        // every value in a lane, and in the rest of a row
        for (let first = 0; first < x.length; first++) {
          const part = x.subarray(first);
          expect(scaled(part, scale)).toEqual(new Array(part.length).fill(0));
        }
      }
    });

    it("float32 at its ends: denormal, tiny and huge with a scale that brings them in", () => {
      expect(scaled(Float32Array.of(2 ** -149, -(2 ** -126), 1e-38), 2 ** 126)).toEqual([0, -1, 1]);
      expect(scaled(Float32Array.of(3e38, -1e38, 1e37), 1e-35)).toEqual([3000, -1000, 100]);
    });

    if (build === "release") {
      it("what does not fit 16 bits is held at the ends", () => {
        const x = Float32Array.of(1, -1, 0.5, -0.5, 1, -1);
        expect(scaled(x, 1e5)).toEqual([32767, -32768, 32767, -32768, 32767, -32768]);
      });
    }
  });

  describe(`recovery (${build})`, () => {
    const limits = { inverse: 2 ** -20, largest: 2 ** 31 / 1.02, smallest: 2 ** -100 };
    const recover = (words: Uint32Array, products: Uint32Array, scales: Float64Array, given = limits) => {
      const driver = new KernelDriver(build);
      const { kernels } = driver;
      const at = kernels.allocate(8 * scales.length);
      kernels.doubles(at, scales.length).set(scales);
      const out = driver.put(words);
      kernels.recoverRows(out, driver.put(products), at, words.length, given);
      return kernels.floats(out, words.length).slice();
    };

    it.each([0, 1, 7, 24, 4608])("%i rows are scale·(w − h)·inverse, centred and clamped", (count) => {
      const words = randomWords(random, count);
      const products = randomWords(random, count);
      const scales = Float64Array.from(randomWords(random, count), (word) => (word + 1) / 2 ** 30);
      const expected = Float32Array.from(words, (word, i) => {
        const u = Math.max(-limits.largest, Math.min(limits.largest, (word - products[i]) | 0));
        return scales[i] * u * limits.inverse;
      });
      expect(recover(words, products, scales)).toEqual(expected);
    });

    it("what is not finite, or too small, becomes 0", () => {
      const words = Uint32Array.of(5, 5, 5, 1, 0x80000000);
      const scales = Float64Array.of(1e300, Number.POSITIVE_INFINITY, Number.NaN, 2 ** -90, 1);
      const got = recover(words, new Uint32Array(5), scales);
      expect(got).toEqual(Float32Array.of(0, 0, 0, 0, (-(2 ** 31) / 1.02) * 2 ** -20));
    });
  });

  describe(`packing (${build})`, () => {
    it("packs and unpacks every width and odd counts as the oracle does", () => {
      for (let bits = 1; bits <= 32; bits++) {
        const driver = new KernelDriver(build);
        for (const count of [0, 1, 2, 3, 7, 8, 9, 11, 15, 16, 17, 31, 33, 77, 130, 1456]) {
          const words = randomWords(random, count);
          words.set([0, 2 ** 32 - 1, 2 ** 31, 2 ** 31 - 1].slice(0, count));
          const packed = driver.pack(words, bits);
          expect(packed.length).toBe(packedBytes(count, bits));
          expect(packed).toEqual(packing.packTop(words, count, bits));
          const back = driver.unpack(packed, count, bits);
          expect(back).toEqual(packing.unpackTop(packed, count, bits));
          const half = bits === 32 ? 0 : 2 ** (31 - bits);
          for (let i = 0; i < count; i++)
            expect(Math.abs((words[i] - back[i]) | 0)).toBeLessThanOrEqual(half);
        }
      }
    });

    it("unpack ignores what follows the stream", () => {
      const driver = new KernelDriver(build);
      const words = randomWords(random, 5);
      const packed = driver.pack(words, 11);
      const followed = new Uint8Array(packed.length + 32).fill(0xff);
      followed.set(packed);
      expect(driver.unpack(followed, 5, 11)).toEqual(packing.unpackTop(packed, 5, 11));
    });

    it("splits words into centred halves", () => {
      const driver = new KernelDriver(build);
      for (const count of [0, 1, 7, 8, 9, 31]) {
        const words = Uint32Array.from(
          { length: count },
          (_, i) => EDGE_WORDS[i] ?? randomWords(random, 1)[0],
        );
        const lo = driver.kernels.allocate(2 * count);
        const hi = driver.kernels.allocate(2 * count);
        driver.kernels.splitWords(driver.put(words), count, lo, hi);
        const low = driver.kernels.shorts(lo, count);
        const high = driver.kernels.shorts(hi, count);
        expect(Uint32Array.from(low, (value, i) => value + 65536 * high[i])).toEqual(words);
      }
    });
  });

  describe(`inner products (${build})`, () => {
    it.each([
      [1, 1, 16],
      [1, 8, 48],
      [1, 9, 2064],
      [2, 1, 32],
      [3, 5, 4128],
      [4, 4, 16],
      [5, 67, 80],
      [9, 130, 16],
      [2, 2, 0],
    ])("%i plane rows, %i small rows, length %i", (planeRows, smallRows, length) => {
      const driver = new KernelDriver(build);
      const planes = Array.from({ length: planeRows }, () => randomWords(random, length));
      const small = Array.from({ length: smallRows }, () => randomIntegers(random, length, -32768, 32767));
      const expected = small.flatMap((row) => planes.map((plane) => innerProduct(row, plane)));
      expect([...driver.innerProducts(planes, small, length)]).toEqual(expected);
      const bytes = small.map((row) => Int8Array.from(row));
      const ofBytes = bytes.flatMap((row) => planes.map((plane) => innerProduct(row, plane)));
      expect([...driver.innerProducts(planes, bytes, length)]).toEqual(ofBytes);
    });

    it.each(EDGE_WORDS)("sums that wrap: every word %i, weights at the limits", (word) => {
      const driver = new KernelDriver(build);
      for (const [Small, weight] of [
        [Int16Array, -32768],
        [Int16Array, 32767],
        [Int16Array, -1],
        [Int8Array, -128],
        [Int8Array, 127],
        [Int8Array, -1],
      ] as const) {
        const plane = new Uint32Array(4096).fill(word);
        const small = new Small(4096).fill(weight);
        const expected = innerProduct(small, plane);
        expect([...driver.innerProducts([plane, plane, plane], [small, small, small], 4096)]).toEqual(
          new Array(9).fill(expected),
        );
      }
    });

    it("strides place the results and nothing else is touched", () => {
      const { kernels } = new KernelDriver(build);
      const lo = kernels.allocate(2 * 2 * 16);
      const hi = kernels.allocate(2 * 2 * 16);
      const small = kernels.allocate(2 * 3 * 16);
      kernels.shorts(lo, 32).fill(1, 0, 16).fill(2, 16);
      kernels.shorts(small, 48).fill(1, 0, 16).fill(10, 16, 32).fill(100, 32);
      const out = kernels.allocate(4 * 64);
      kernels.words(out, 64).fill(9);
      const places = { planeRows: 2, smallRows: 3, length: 16, outPlaneStride: 20, outSmallStride: 3 };
      kernels.innerProducts({ lo, hi, small, out, ...places });
      const expected = new Uint32Array(64).fill(9);
      for (const s of [0, 1, 2]) for (const p of [0, 1]) expected[3 * s + 20 * p] = 16 * 10 ** s * (p + 1);
      expect(kernels.words(out, 64)).toEqual(expected);
      kernels.innerProducts({ lo, hi, small, out, ...places, add: true });
      for (const s of [0, 1, 2]) for (const p of [0, 1]) expected[3 * s + 20 * p] *= 2;
      expect(kernels.words(out, 64)).toEqual(expected);
    });
  });
}
