/** ChaCha20 against the RFC and another implementation; the samplers against the oracle, and their statistics. */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/base/bytes.ts";
import {
  ERROR_VARIANCE,
  type KernelBuild,
  markRandomBytes,
  RING_DEGREE,
  TERNARY_RANDOM_BYTES,
} from "../../src/ring/kernels.ts";
import { correlationZ, moments } from "../support/statistics.ts";
import { KernelDriver } from "./kernel-driver.ts";
import { binomialErrors, ternarySecret, uniformErrors } from "./sampling.ts";
import { randomWords, seededRandom } from "./seeded-random.ts";

const N = RING_DEGREE;

export function samplingSuite(build: KernelBuild): void {
  const random = seededRandom(`samplingSuite ${build}`);

  describe(`random bytes (${build})`, () => {
    it("RFC 8439 §2.3.2: the block with counter 1", () => {
      const key = Uint8Array.from({ length: 32 }, (_, i) => i);
      const block = new KernelDriver(build).expand(key, 0x09000000, 0x4a000000, 256).subarray(64, 128);
      expect(toHex(block)).toBe(
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e" +
          "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
      );
    });

    it("RFC 8439 A.1 vectors 1 and 2: zero key, zero nonce, counters 0 and 1", () => {
      const stream = new KernelDriver(build).expand(new Uint8Array(32), 0, 0, 256);
      expect(toHex(stream.subarray(0, 32))).toBe(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7",
      );
      expect(toHex(stream.subarray(64, 96))).toBe(
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed",
      );
    });

    it.each([0, 256, 512, 1024, 33024])("%i bytes equal those of @noble/ciphers", (bytes) => {
      const driver = new KernelDriver(build);
      const key = new Uint8Array(32);
      random(key);
      const [low, high] = randomWords(random, 2);
      const nonce = new Uint8Array(12);
      new DataView(nonce.buffer).setUint32(0, low, true);
      new DataView(nonce.buffer).setUint32(4, high, true);
      expect(toHex(driver.expand(key, low, high, bytes))).toBe(
        toHex(chacha20(key, nonce, new Uint8Array(bytes))),
      );
    });
  });

  describe(`samplers (${build})`, () => {
    it("ternary secrets equal the oracle's, and are uniform", () => {
      const { kernels } = new KernelDriver(build);
      const input = kernels.allocate(TERNARY_RANDOM_BYTES);
      const out = kernels.allocate(2 * N);
      const counts = [0, 0, 0];
      const rounds = 50;
      for (let round = 0; round < rounds; round++) {
        random(kernels.bytes(input, TERNARY_RANDOM_BYTES));
        expect(kernels.sampleTernary(input, TERNARY_RANDOM_BYTES, out)).toBe(true);
        const expected = ternarySecret(kernels.bytes(input, TERNARY_RANDOM_BYTES)) as Int16Array;
        expect(kernels.shorts(out, N)).toEqual(expected);
        for (const value of expected) counts[value + 1]++;
      }
      const mean = (rounds * N) / 3;
      const chiSquare = counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
      expect(chiSquare).toBeLessThan(13.8); // 2 degrees of freedom: exceeded with probability 0.001; the seed is fixed
    });

    it("every byte value maps as the oracle says", () => {
      const { kernels } = new KernelDriver(build);
      const all = Uint8Array.from({ length: 1024 }, (_, i) => (7 * i) & 255);
      const input = kernels.allocate(1024);
      kernels.bytes(input, 1024).set(all);
      const out = kernels.allocate(2 * N);
      expect(kernels.sampleTernary(input, 1024, out)).toBe(true);
      expect(kernels.shorts(out, N)).toEqual(ternarySecret(all));
    });

    it.each([
      [0, 0, false],
      [415, 0, false],
      [416, 0, true],
      [544, 129, false],
      [544, 128, true],
    ])("%i bytes of which %i are rejected: success %s", (bytes, rejected, success) => {
      const { kernels } = new KernelDriver(build);
      const input = kernels.allocate(bytes);
      const out = kernels.allocate(2 * N);
      kernels.bytes(input, bytes).fill(121).fill(243, 0, rejected);
      kernels.shorts(out, N).fill(7);
      expect(kernels.sampleTernary(input, bytes, out)).toBe(success);
      // 121 = 11111 in base 3: every coefficient 0; on failure nothing is written
      expect(kernels.shorts(out, N)).toEqual(new Int16Array(N).fill(success ? 0 : 7));
    });

    it("errors equal the oracle's bit by bit, with mean 0 and variance 21/2", () => {
      const driver = new KernelDriver(build);
      const count = 1 << 16;
      const noise = new Uint8Array(6 * count);
      random(noise);
      const start = randomWords(random, count);
      const words = driver.put(start);
      driver.kernels.addErrors(words, count, driver.put(noise));
      const expected = binomialErrors(noise, count);
      expect(driver.words(words, count)).toEqual(start.map((word, i) => word + expected[i]));
      const mean = expected.reduce((sum, e) => sum + e, 0) / count;
      const variance = expected.reduce((sum, e) => sum + e * e, 0) / count;
      expect(Math.abs(mean)).toBeLessThan(4 * Math.sqrt(ERROR_VARIANCE / count));
      expect(Math.abs(variance - ERROR_VARIANCE)).toBeLessThan(4 * ERROR_VARIANCE * Math.sqrt(2 / count));
    });

    it("errors reach ±21 and ignore the six spare bits", () => {
      const driver = new KernelDriver(build);
      for (const [positive, negative, error] of [
        [0xff, 0, 21],
        [0, 0xff, -21],
        [0xff, 0xff, 0],
      ]) {
        const noise = new Uint8Array(96).fill(positive, 0, 48).fill(negative, 48);
        const words = driver.put(new Uint32Array(16).fill(5));
        driver.kernels.addErrors(words, 16, driver.put(noise));
        expect(driver.words(words, 16)).toEqual(new Uint32Array(16).fill(5 + error));
      }
      const spare = new Uint8Array(96).fill(0xe0, 32, 48).fill(0xe0, 80);
      const words = driver.put(new Uint32Array(16));
      driver.kernels.addErrors(words, 16, driver.put(spare));
      expect(driver.words(words, 16)).toEqual(new Uint32Array(16));
    });

    it("uniform errors equal the oracle's at every width, added to what is there", () => {
      for (let bits = 1; bits <= 16; bits++) {
        const driver = new KernelDriver(build);
        for (const count of [0, 8, 24, 2056]) {
          const noise = new Uint8Array(2 * count);
          random(noise);
          const start = randomWords(random, count);
          const words = driver.put(start);
          driver.kernels.addUniform(words, count, bits, driver.put(noise));
          const expected = uniformErrors(noise, count, bits);
          expect(driver.words(words, count)).toEqual(start.map((word, i) => word + expected[i]));
        }
      }
    });

    it("uniform secrets are the same plus 1, at every width", () => {
      for (let bits = 1; bits <= 15; bits++) {
        const driver = new KernelDriver(build);
        for (const count of [0, 8, 24, 1456]) {
          const noise = new Uint8Array(2 * count);
          random(noise);
          const out = driver.kernels.allocate(2 * count);
          driver.kernels.sampleUniform(driver.put(noise), count, bits, out);
          const expected = Int16Array.from(uniformErrors(noise, count, bits), (value) => value + 1);
          expect(driver.kernels.shorts(out, count)).toEqual(expected);
          if (bits > 7) continue;
          driver.kernels.sampleUniform(driver.put(noise), count, bits, out, 1);
          expect([...driver.integers8(out, count)]).toEqual([...expected]);
        }
      }
    });

    it("marks equal the oracle's, added to what is there, at any odds and amplitude", () => {
      const driver = new KernelDriver(build);
      for (const count of [0, 16, 32, 48, 2064]) {
        const noise = new Uint8Array(markRandomBytes(count));
        random(noise);
        const odds = new Uint8Array(count);
        random(odds);
        for (let i = 0; i < count; i++) odds[i] %= 17;
        for (const delta of [0, 1, 59, 2 ** 24]) {
          const start = randomWords(random, count);
          const words = driver.put(start);
          driver.kernels.addMarks(words, count, delta, driver.put(odds), driver.put(noise));
          const expected = start.map((word, i) => {
            const byte = noise[16 * Math.floor(i / 32) + (i % 16)];
            const four = Math.floor(i / 16) % 2 === 0 ? byte % 16 : Math.floor(byte / 16);
            return word + (four < odds[i] ? delta : -delta);
          });
          expect(driver.words(words, count)).toEqual(expected);
        }
      }
    });

    it("both reach every value of their range equally often over all pairs of bytes, and no other", () => {
      const every = new Uint8Array(new Uint16Array(65_536).map((_, i) => i).buffer);
      for (let bits = 1; bits <= 16; bits++) {
        const driver = new KernelDriver(build);
        const half = 2 ** (bits - 1);
        const noise = driver.put(every);
        const words = driver.put(new Uint32Array(65_536));
        driver.kernels.addUniform(words, 65_536, bits, noise);
        const counts = (values: Iterable<number>, low: number) => {
          const found = new Int32Array(2 * half);
          for (const value of values) {
            if (value < low || value >= low + 2 * half) throw new Error(`${value} is out of range`);
            found[value - low]++;
          }
          return found;
        };
        const flat = new Int32Array(2 * half).fill(65_536 / (2 * half));
        expect(counts(Int32Array.from(driver.words(words, 65_536)), -half)).toEqual(flat);
        if (bits === 16) continue;
        const out = driver.kernels.allocate(2 * 65_536);
        driver.kernels.sampleUniform(noise, 65_536, bits, out);
        expect(counts(driver.kernels.shorts(out, 65_536), 1 - half)).toEqual(flat);
        if (bits > 7) continue;
        driver.kernels.sampleUniform(noise, 65_536, bits, out, 1);
        expect(counts(driver.integers8(out, 65_536), 1 - half)).toEqual(flat);
      }
    });

    it("errors of encrypted weights have mean -1/2 and variance (4^7 - 1)/12, neighbours uncorrelated", () => {
      const driver = new KernelDriver(build);
      const count = 1 << 16;
      const noise = new Uint8Array(2 * count);
      random(noise);
      const words = driver.put(new Uint32Array(count));
      driver.kernels.addUniform(words, count, 7, driver.put(noise));
      const values = Int32Array.from(driver.words(words, count));
      const { mean, variance } = moments(values);
      const expected = (4 ** 7 - 1) / 12;
      expect(Math.abs(mean + 0.5)).toBeLessThan(4 * Math.sqrt(expected / count));
      expect(Math.abs(variance / expected - 1)).toBeLessThan(4 * Math.sqrt(0.8 / count)); // kurtosis 1.8
      expect(Math.abs(correlationZ(values, values.subarray(1)))).toBeLessThan(4);
    });
  });
}
