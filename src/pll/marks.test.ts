/** Marks: what they are, that they stay the same, what they cost an answer. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { evaluate, exactProduct, gaussianSource, makeLayer } from "../../test/support/pll-layer.ts";
import { toHex, utf8 } from "../base/bytes.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import { groupMark, markAmplitude, markOdds } from "./marks.ts";
import { predictedNoiseStddev, predictedRelativeError, scaledNorm } from "./noise.ts";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
const ROWS = 8;
const mark = (account = "a", group = 0, secret = SECRET) => groupMark(P, secret, utf8(account), group);

function layerOf(n: number, options: Parameters<typeof makeLayer>[3] = {}) {
  const real = Float64Array.from({ length: ROWS * n }, gaussianSource(n));
  return makeLayer(real, ROWS, n, { random: seededRandom(`marks ${n}`), ...options });
}

describe("odds", () => {
  it("of all bytes are near the arcsine distribution, symmetric, and never certain", () => {
    const odds = Array.from({ length: 256 }, (_, t) => markOdds(t));
    for (const [t, value] of odds.entries()) {
      const exact = 16 * Math.sin((Math.PI / 2) * ((t + 0.5) / 256)) ** 2;
      expect(Math.abs(value - Math.min(15, Math.max(1, exact)))).toBeLessThan(0.5 + 16 * 0.012);
      expect(value + odds[255 - t]).toBe(16);
    }
    expect(Math.min(...odds)).toBe(1);
    expect(Math.max(...odds)).toBe(15);
  });
});

describe("a mark", () => {
  it("is a function of secret, account and group alone, and another one for another of these", () => {
    const { provider } = layerOf(300);
    const other = layerOf(300).provider;
    const signs = (of: ReturnType<typeof mark>) =>
      toHex(Uint8Array.from(provider.markOf(of), (d) => (d > 0 ? 1 : 0)));
    const first = signs(mark());
    expect(signs(mark())).toBe(first);
    expect(toHex(Uint8Array.from(other.markOf(mark()), (d) => (d > 0 ? 1 : 0)))).toBe(first);
    const others = [mark("b"), mark("a", 1), mark("a", 0, new Uint8Array(32)), mark("")];
    expect(new Set([first, ...others.map(signs)]).size).toBe(5);
    // A known answer: marks of accounts that exist must never change.
    expect(first.slice(0, 64)).toMatchInlineSnapshot(
      `"0001010000010000000100010100000101010000000001010100000001010100"`,
    );
  });

  it("has the sign of its odds' frequency, and the odds are the same for all accounts", () => {
    const { provider } = layerOf(2048);
    const odds = provider.oddsOf(mark());
    expect(provider.oddsOf(mark("b"))).toEqual(odds);
    const accounts = 400;
    const plus = new Float64Array(odds.length);
    for (let a = 0; a < accounts; a++) {
      const signs = provider.markOf(mark(`account ${a}`));
      for (let i = 0; i < plus.length; i++) if (signs[i] > 0) plus[i]++;
    }
    let square = 0;
    for (let i = 0; i < plus.length; i++) {
      const p = odds[i] / 16;
      square += (plus[i] - accounts * p) ** 2 / (accounts * p * (1 - p));
    }
    // Mean of χ² with one degree each: 1, its deviation √(2/entries).
    expect(Math.abs(square / plus.length - 1)).toBeLessThan(5 * Math.sqrt(2 / plus.length));
  });

  it.each([16, 300, 2048, 4100])("is what a key's B has more than without, n = %i", (n) => {
    for (const build of ["release", "debug"] as const) {
      const plain = layerOf(n, { build });
      const { provider, kernels, seed } = plain;
      const marked = provider.encryptWeights(seed, mark());
      const bits = P.weightBits;
      const words = (packed: Uint8Array, row: number) => {
        const bytes = packed.length / ROWS;
        const at = kernels.allocate(bytes);
        kernels.bytes(at, bytes).set(packed.subarray(row * bytes, (row + 1) * bytes));
        const out = kernels.allocate(4 * n);
        kernels.unpackTop(at, n, bits, out);
        return kernels.words(out, n).slice();
      };
      const signs = provider.markOf(mark());
      const unit = 2 ** (32 - bits);
      for (let row = 0; row < ROWS; row++) {
        const [with_, without] = [words(marked.weights, row), words(plain.encrypted.weights, row)];
        for (let j = 0; j < n; j++) {
          expect(Math.abs(((with_[j] - without[j]) | 0) - signs[row * n + j])).toBeLessThanOrEqual(unit);
        }
      }
      expect(marked.hint).toEqual(plain.encrypted.hint);
    }
  });

  it("leaves nothing of its seeds in the provider's memory", () => {
    const { provider, kernels, seed } = layerOf(300);
    const one = mark();
    provider.encryptWeights(seed, one);
    const memory = Buffer.from(kernels.bytes(0 as never, kernels.allocate(0)));
    expect(memory.includes(Buffer.from(one.signsSeed))).toBe(false);
    expect(memory.includes(Buffer.from(one.oddsSeed))).toBe(false);
  });
});

describe("the error of u", () => {
  it.each([256, 896, 4096])(
    "is √2 of what it is without, n = %i, and rows stay within their headroom",
    (n) => {
      const gaussian = gaussianSource(n + 1);
      const vectors = 64;
      const x = Float32Array.from({ length: vectors * n }, gaussian);
      const errorOf = (layer: ReturnType<typeof layerOf>) => {
        const y = evaluate(layer, x, vectors);
        const { integers, scales } = layer.quantized;
        const exact = exactProduct(integers, x, ROWS, n, vectors);
        let [error, size] = [0, 0];
        for (let i = 0; i < y.length; i++) {
          error += (y[i] / scales[i % ROWS] - exact[i]) ** 2;
          size += exact[i] ** 2;
        }
        return Math.sqrt(error / size);
      };
      const [without, with_] = [errorOf(layerOf(n)), errorOf(layerOf(n, { mark: mark() }))];
      const predicted = predictedRelativeError(P, n);
      console.log(
        `n = ${n}: error 2^${Math.log2(without).toFixed(2)} without marks, 2^${Math.log2(with_).toFixed(2)} with; predicted 2^${Math.log2(predicted).toFixed(2)} and 2^${Math.log2(predicted * Math.SQRT2).toFixed(2)}`,
      );
      expect(Math.abs(Math.log2(with_ / without) - 0.5)).toBeLessThan(0.2);
      // ‖W + D‖ ≤ R + δ√n; the scale leaves 1.05.
      expect((P.rowNorm + markAmplitude(P) * Math.sqrt(n)) / P.rowNorm).toBeLessThan(1.02);
      expect(markAmplitude(P)).toBe(Math.round(predictedNoiseStddev(P, P.rowNorm) / scaledNorm(P)));
    },
  );
});
