/** The four verbs together: correctness on hostile inputs, one vector against many, what is refused. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { evaluate, exactProduct, gaussianSource, makeLayer } from "../../test/support/pll-layer.ts";

const SLOW = process.env.SLOW === "1";

function gaussianMatrix(rows: number, n: number, seed: number): Float64Array {
  return Float64Array.from({ length: rows * n }, gaussianSource(seed));
}

/** Largest error relative to ‖x‖·(largest row norm): what a wrap would blow up to about 1. */
function worstError(real: Float64Array, x: Float32Array, y: Float32Array, rows: number, n: number): number {
  const vectors = x.length / n;
  const exact = exactProduct(real, x, rows, n, vectors);
  let rowNorm = 0;
  for (let r = 0; r < rows; r++)
    rowNorm = Math.max(rowNorm, Math.hypot(...real.subarray(r * n, (r + 1) * n)));
  let worst = 0;
  for (let t = 0; t < vectors; t++) {
    const norm = Math.hypot(...x.subarray(t * n, (t + 1) * n));
    if (norm === 0) continue;
    for (let r = 0; r < rows; r++) {
      worst = Math.max(worst, Math.abs(y[t * rows + r] - exact[t * rows + r]) / (rowNorm * norm));
    }
  }
  return worst;
}

describe("private linear layer", () => {
  it("does not wrap when x is aligned with a row, in either direction", () => {
    for (const n of [96, 896, 2049, 4096]) {
      const rows = 8;
      const real = gaussianMatrix(rows, n, n);
      const layer = makeLayer(real, rows, n);
      const x = new Float32Array(2 * rows * n);
      for (let r = 0; r < rows; r++) {
        const row = Float32Array.from(layer.quantized.integers.subarray(r * n, (r + 1) * n));
        x.set(row, 2 * r * n);
        x.set(
          row.map((value) => -value),
          (2 * r + 1) * n,
        );
      }
      expect(worstError(real, x, evaluate(layer, x, 2 * rows), rows, n)).toBeLessThan(2 ** -8);
    }
  });

  it("holds for spikes, tiny and huge activations", () => {
    const [rows, n] = [4, 300];
    const real = gaussianMatrix(rows, n, 5);
    const layer = makeLayer(real, rows, n);
    const spike = new Float32Array(n);
    spike[17] = 1;
    for (const factor of [1, 1e-20, 1e20, -3e5]) {
      const x = spike.map((value) => value * factor);
      expect(worstError(real, x, evaluate(layer, x, 1), rows, n)).toBeLessThan(2 ** -7);
    }
  });

  it("encrypts zero and non-finite activations like anything else, and returns finite numbers", () => {
    const [rows, n] = [4, 64];
    const layer = makeLayer(gaussianMatrix(rows, n, 6), rows, n);
    for (const value of [0, Number.NaN, Number.POSITIVE_INFINITY, 1e38, 1e-45]) {
      const x = new Float32Array(n).fill(value);
      const masks = layer.client.prepareMasks(1);
      const query = layer.client.makeQuery(masks, x);
      expect(query.length).toBe(layer.client.queryBytes);
      const y = layer.client.recoverResult(masks, layer.provider.answerQuery(query, 1));
      expect(y.every(Number.isFinite)).toBe(true);
      if (value === 0) expect(y.every((result) => result === 0)).toBe(true);
    }
  });

  it("survives weights that are zero, one huge entry, or all equal", () => {
    const [rows, n] = [3, 128];
    const x = Float32Array.from({ length: n }, gaussianSource(9));
    for (const real of [
      new Float64Array(rows * n),
      new Float64Array(rows * n).fill(0.25),
      Float64Array.from({ length: rows * n }, (_, i) => (i === 100 ? 1e6 : 1e-6)),
    ]) {
      const layer = makeLayer(real, rows, n);
      const y = evaluate(layer, x, 1);
      if (real.every((value) => value === 0)) expect(Math.max(...y.map(Math.abs))).toBeLessThan(1e-20);
      else expect(worstError(real, x, y, rows, n)).toBeLessThan(2 ** -6);
    }
  });

  it("a batch gives what its vectors give alone, and any chunking of it", () => {
    const [rows, n, vectors] = [5, 200, 70];
    const layer = makeLayer(gaussianMatrix(rows, n, 7), rows, n);
    const x = Float32Array.from({ length: vectors * n }, gaussianSource(8));
    const masks = layer.client.prepareMasks(vectors);
    const query = layer.client.makeQuery(masks, x);
    const batch = layer.provider.answerQuery(query, vectors);
    const { queryBytes } = layer.provider;
    const alone = Array.from({ length: vectors }, (_, t) => [
      ...layer.provider.answerQuery(query.subarray(t * queryBytes, (t + 1) * queryBytes), 1),
    ]).flat();
    expect([...batch]).toEqual(alone);
    expect([...layer.provider.answerQuery(query, vectors)]).toEqual([...batch]);
  });

  it("is a linear function of x up to noise, for any shape (property)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: SLOW ? 5000 : 1500 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer(),
        (rows, n, vectors, seed) => {
          const real = gaussianMatrix(rows, n, seed);
          const layer = makeLayer(real, rows, n, { build: "debug" });
          const x = Float32Array.from({ length: vectors * n }, gaussianSource(seed + 1));
          expect(worstError(real, x, evaluate(layer, x, vectors), rows, n)).toBeLessThan(2 ** -7);
        },
      ),
      { numRuns: SLOW ? 100 : 8 },
    );
  });

  it("never sends the same bytes for the same activation", () => {
    const [rows, n] = [2, 96];
    const layer = makeLayer(gaussianMatrix(rows, n, 3), rows, n);
    const x = Float32Array.from({ length: n }, gaussianSource(4));
    const seen = new Set<string>();
    for (let i = 0; i < 20; i++) seen.add(layer.client.makeQuery(layer.client.prepareMasks(1), x).join());
    expect(seen.size).toBe(20);
  });

  it("gives every hint fresh P and E, for the same weights too", () => {
    const [rows, n] = [2, 96];
    const real = gaussianMatrix(rows, n, 3);
    // Even when the source of randomness repeats itself, other weights get another P.
    const repeated = () => seededRandom("setup");
    const first = makeLayer(real, rows, n, { random: repeated() });
    const again = makeLayer(real, rows, n, { random: repeated() });
    const other = makeLayer(
      real.map((v, i) => (i === 0 ? v + 0.1 : v)),
      rows,
      n,
      { random: repeated() },
    );
    expect(again.secrets.padding).toEqual(first.secrets.padding);
    expect(other.secrets.padding).not.toEqual(first.secrets.padding);
    const fresh = [makeLayer(real, rows, n), makeLayer(real, rows, n)];
    expect(fresh[0].secrets.padding).not.toEqual(fresh[1].secrets.padding);
  });

  it("refuses wrong lengths, at the provider with a typed error", () => {
    const [rows, n] = [2, 96];
    const layer = makeLayer(gaussianMatrix(rows, n, 3), rows, n);
    const masks = layer.client.prepareMasks(1);
    expect(() => layer.client.makeQuery(masks, new Float32Array(n + 1))).toThrow(RangeError);
    const masks2 = layer.client.prepareMasks(1);
    const query = layer.client.makeQuery(masks2, new Float32Array(n));
    for (const bad of [query.subarray(1), new Uint8Array([...query, 0]), new Uint8Array(0)]) {
      expect(() => layer.provider.answerQuery(bad, 1)).toThrow(/a query of 1 vectors/);
    }
    for (const vectors of [0, -1, 2, Number.NaN]) {
      expect(() => layer.provider.answerQuery(query, vectors)).toThrow();
    }
    const reply = layer.provider.answerQuery(query, 1);
    expect(() => layer.client.recoverResult(masks2, reply.subarray(1))).toThrow(RangeError);
  });

  it("spends a mask once", () => {
    const [rows, n] = [2, 96];
    const layer = makeLayer(gaussianMatrix(rows, n, 3), rows, n);
    const x = new Float32Array(n).fill(1);
    const masks = layer.client.prepareMasks(1);
    const reply = layer.provider.answerQuery(layer.client.makeQuery(masks, x), 1);
    expect(() => layer.client.makeQuery(masks, x)).toThrow(RangeError);
    layer.client.recoverResult(masks, reply);
    expect(() => layer.client.recoverResult(masks, reply)).toThrow(RangeError);
  });
});
