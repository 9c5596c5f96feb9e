/** The steps together: what they compute, what they refuse, keys that change under an open query. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import {
  evaluate,
  exactProduct,
  gaussianSource,
  makeLayer,
  type TestLayer,
  worstError,
} from "../../test/support/pll-layer.ts";
import { TacetError } from "../base/errors.ts";
import { type Address, SPECTRUM_BYTES } from "../ring/kernels.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";

const SLOW = process.env.SLOW === "1";

function gaussianMatrix(rows: number, n: number, seed: number): Float64Array {
  return Float64Array.from({ length: rows * n }, gaussianSource(seed));
}

/** A layer with Gaussian weights. */
function gaussianLayer(rows: number, n: number, seed = 3) {
  const real = gaussianMatrix(rows, n, seed);
  return { real, layer: makeLayer(real, rows, n) };
}

/** Another key of the same layer, with the secret that answers under it. */
function anotherKey(layer: TestLayer, fill: number) {
  const seed = new Uint8Array(32).fill(fill);
  const encrypted = layer.provider.encryptWeights(seed);
  return { encrypted, key: layer.client.loadKey(encrypted), secret: layer.provider.deriveSecret(seed) };
}

describe("private linear layer", () => {
  it("is a linear function of x up to noise, for any shape, with both builds (property)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: SLOW ? 5000 : 2500 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer(),
        fc.constantFrom("release" as const, "debug" as const),
        (rows, n, vectors, seed, build) => {
          const real = gaussianMatrix(rows, n, seed);
          const layer = makeLayer(real, rows, n, { build });
          const x = Float32Array.from({ length: vectors * n }, gaussianSource(seed + 1));
          expect(worstError(real, x, evaluate(layer, x, vectors), rows, n)).toBeLessThan(2 ** -10);
        },
      ),
      { numRuns: SLOW ? 100 : 10 },
    );
  });

  it("adds and scales: y(2a − 3b) = 2·y(a) − 3·y(b) up to noise", () => {
    const [rows, n] = [5, 700];
    const { real, layer } = gaussianLayer(rows, n);
    const a = Float32Array.from({ length: n }, gaussianSource(10));
    const b = Float32Array.from({ length: n }, gaussianSource(11));
    const mixed = a.map((value, i) => 2 * value - 3 * b[i]);
    const [ya, yb, y] = [a, b, mixed].map((x) => evaluate(layer, x, 1));
    const combined = ya.map((value, r) => 2 * value - 3 * yb[r]);
    expect(worstError(real, mixed, combined, rows, n)).toBeLessThan(2 ** -9);
    expect(worstError(real, mixed, y, rows, n)).toBeLessThan(2 ** -10);
  });

  it("a batch gives what its vectors give alone, and any chunking of it", () => {
    const [rows, n, vectors] = [5, 200, 70];
    const { layer } = gaussianLayer(rows, n, 7);
    const { client, provider, masks, key, secret } = layer;
    const x = Float32Array.from({ length: vectors * n }, gaussianSource(8));
    const query = client.makeQuery(masks.make(vectors), x);
    const batch = provider.answerQuery(secret, query.bytes, vectors);
    const { queryBytes } = provider;
    const part = (t: number) => query.bytes.subarray(t * queryBytes, (t + 1) * queryBytes);
    const alone = Array.from({ length: vectors }, (_, t) => [...provider.answerQuery(secret, part(t), 1)]);
    expect([...batch]).toEqual(alone.flat());
    expect([...provider.answerQuery(secret, query.bytes, vectors)]).toEqual([...batch]);
    client.applyKey(query, key);
    const y = client.recoverResult(query, batch);
    const seeded = () => makeLayer(gaussianMatrix(rows, n, 7), rows, n, { random: seededRandom("batch") });
    const [together, single] = [seeded(), seeded()];
    const one = (t: number) => [...evaluate(single, x.subarray(t * n, (t + 1) * n), 1)];
    expect([...evaluate(together, x.subarray(0, 3 * n), 3)]).toEqual([0, 1, 2].flatMap(one));
    expect(y).toHaveLength(vectors * rows);
  });

  it.each([96, 256, 300, 700, 2048, 4500])(
    "n = %i: a query is the same bytes whether its masks were made ahead or with it",
    (n) => {
      const x = Float32Array.from({ length: 3 * n }, gaussianSource(9));
      const make = () => makeLayer(gaussianMatrix(2, n, 7), 2, n, { random: seededRandom("ahead") });
      const [ahead, atOnce] = [make(), make()];
      const want = ahead.client.makeQuery(ahead.masks.make(3), x);
      const masks = atOnce.masks.draw(3);
      const got = atOnce.client.makeQuery(masks, x);
      expect(got.bytes).toEqual(want.bytes);
      const reply = atOnce.provider.answerQuery(atOnce.secret, got.bytes, 3);
      for (const [layer, query] of [[ahead, want] as const, [atOnce, got] as const]) {
        layer.client.applyKey(query, layer.key);
      }
      const result = atOnce.client.recoverResult(got, reply);
      expect(result).toEqual(ahead.client.recoverResult(want, reply));
      // Nothing of s, e or y stays.
      const words = atOnce.kernels.words(masks.words, 3 * atOnce.parameters.keyLength);
      expect(words.every((word) => word === 0)).toBe(true);
    },
  );

  it("never sends the same bytes for the same activation", () => {
    const { layer } = gaussianLayer(2, 96);
    const x = Float32Array.from({ length: 96 }, gaussianSource(4));
    const seen = Array.from({ length: 20 }, () => {
      const query = layer.client.makeQuery(layer.masks.make(1), x);
      layer.client.discard(query);
      return query.bytes.join();
    });
    expect(new Set(seen).size).toBe(20);
  });

  it("what is sent has the same length whatever x, the rows and the width are", () => {
    const lengths = [1, 96, 2048, 4100].map((n) => gaussianLayer(3, n).layer.client.queryBytes);
    expect(new Set(lengths)).toEqual(new Set([4550]));
  });

  it("takes a vocabulary for its width: a one-hot x gives a column, for the same 4550 bytes", () => {
    const [rows, n] = [2, 152_064];
    const { real, layer } = gaussianLayer(rows, n);
    const x = new Float32Array(2 * n);
    x[151_935] = 1;
    x[n + 7] = -2;
    const y = evaluate(layer, x, 2);
    expect(worstError(real, x, y, rows, n)).toBeLessThan(2 ** -10);
    expect(layer.client.queryBytes).toBe(4550);
  });

  it("survives weights that are zero, one huge entry, or all equal", () => {
    const [rows, n] = [3, 128];
    const x = Float32Array.from({ length: n }, gaussianSource(9));
    for (const real of [
      new Float64Array(rows * n),
      new Float64Array(rows * n).fill(0.25),
      Float64Array.from({ length: rows * n }, (_, i) => (i === 100 ? 1e6 : 1e-6)),
      Float64Array.from({ length: rows * n }, (_, i) => (i === 100 ? 1e300 : 1e-300)),
    ]) {
      const y = evaluate(makeLayer(real, rows, n), x, 1);
      if (real.every((value) => value === 0)) expect(Math.max(...y.map(Math.abs))).toBeLessThan(1e-20);
      else if (real.some((value) => value > 1e38))
        expect(y[0]).toBe(0); // does not fit float32
      else expect(worstError(real, x, y, rows, n)).toBeLessThan(2 ** -9);
    }
  });
});

describe("activations", () => {
  const [rows, n] = [4, 300];
  const { real, layer } = gaussianLayer(rows, n, 5);

  it("spikes of any size", () => {
    for (const factor of [1, 1e-20, 1e20, -3e5]) {
      const x = new Float32Array(n);
      x[17] = factor;
      expect(worstError(real, x, evaluate(layer, x, 1), rows, n)).toBeLessThan(2 ** -10);
    }
  });

  it("zero is encrypted like anything else and gives exact zeros", () => {
    const query = layer.client.makeQuery(layer.masks.make(1), new Float32Array(n));
    expect(query.bytes).toHaveLength(layer.client.queryBytes);
    expect(query.bytes.filter((byte) => byte === 0).length).toBeLessThan(100);
    layer.client.applyKey(query, layer.key);
    const reply = layer.provider.answerQuery(layer.secret, query.bytes, 1);
    expect(layer.client.recoverResult(query, reply)).toEqual(new Float32Array(rows));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "one %d among others is encrypted as zero, and hides the others too",
    (value) => {
      const x = Float32Array.from({ length: n }, gaussianSource(2));
      x[100] = value;
      expect(evaluate(layer, x, 1)).toEqual(new Float32Array(rows));
    },
  );

  it("in a batch the others are as if it were not there", () => {
    const x = Float32Array.from({ length: 3 * n }, gaussianSource(2));
    x.fill(Number.NaN, n, 2 * n);
    const y = evaluate(layer, x, 3);
    expect(y.subarray(rows, 2 * rows)).toEqual(new Float32Array(rows));
    for (const t of [0, 2]) {
      const [one, result] = [x.subarray(t * n, (t + 1) * n), y.subarray(t * rows, (t + 1) * rows)];
      expect(worstError(real, one, result, rows, n)).toBeLessThan(2 ** -10);
    }
  });

  it("tiny ones give 0 where the result is below 2^-100, huge ones where it does not fit float32", () => {
    for (const value of [1e-38, -1e-38, 1e-45]) {
      expect(evaluate(layer, new Float32Array(n).fill(value), 1)).toEqual(new Float32Array(rows));
    }
    const spike = new Float32Array(n);
    spike[3] = 1e-25; // ‖x‖² is 1e-50: no float32
    expect(worstError(real, spike, evaluate(layer, spike, 1), rows, n)).toBeLessThan(2 ** -10);
    const huge = new Float32Array(n).fill(1e38);
    const [exact, y] = [exactProduct(real, huge, rows, n, 1), evaluate(layer, huge, 1)];
    y.forEach((value, r) => {
      if (Math.abs(exact[r]) < 3e38) expect(Math.abs(value - exact[r])).toBeLessThan(2e37);
      else if (Math.abs(exact[r]) > 4e38) expect(value).toBe(0);
    });
    expect(y.every(Number.isFinite)).toBe(true);
  });
});

describe("keys", () => {
  it("the same seed gives the same bytes, from any instance; another seed gives unrelated ones", () => {
    const [rows, n] = [3, 500];
    const first = gaussianLayer(rows, n).layer;
    const other = gaussianLayer(rows, n).layer;
    const seed = new Uint8Array(32).fill(7);
    const once = first.provider.encryptWeights(seed);
    expect(first.provider.encryptWeights(seed)).toEqual(once);
    expect(other.provider.encryptWeights(seed)).toEqual(once);
    const changed = seed.slice();
    changed[31] ^= 1;
    const { weights, hint } = first.provider.encryptWeights(changed);
    for (const [a, b] of [
      [weights, once.weights],
      [hint, once.hint],
    ]) {
      const equal = a.filter((byte, i) => byte === b[i]).length;
      expect(equal / a.length).toBeLessThan(1 / 128); // 1/256 by chance
    }
  });

  it("rows of a key are unrelated where their weights are equal", () => {
    const n = 400;
    const row = gaussianMatrix(1, n, 2);
    const layer = makeLayer(Float64Array.from([...row, ...row]), 2, n);
    const { weights, hint } = layer.encrypted;
    for (const bytes of [weights, hint]) {
      const half = bytes.length / 2;
      const equal = bytes.subarray(0, half).filter((byte, i) => byte === bytes[half + i]).length;
      expect(equal / half).toBeLessThan(1 / 64);
    }
  });

  it("an open query may be given another key: each gives its own answer's result", () => {
    const [rows, n] = [4, 600];
    const { real, layer } = gaussianLayer(rows, n, 6);
    const { client, provider, masks } = layer;
    const x = Float32Array.from({ length: 2 * n }, gaussianSource(7));
    const keys = [anotherKey(layer, 1), anotherKey(layer, 2)];
    const query = client.makeQuery(masks.make(2), x);
    const sent = query.bytes.slice();
    const replies = keys.map(({ secret }) => provider.answerQuery(secret, query.bytes, 2));
    expect(replies[0]).not.toEqual(replies[1]);
    // Refused under the first, asked again under the second: the same v.
    client.applyKey(query, keys[0].key);
    client.applyKey(query, keys[1].key);
    expect(query.bytes).toEqual(sent);
    expect(worstError(real, x, client.recoverResult(query, replies[1]), rows, n)).toBeLessThan(2 ** -10);
    const again = client.makeQuery(masks.make(2), x);
    client.applyKey(again, keys[1].key);
    client.applyKey(again, keys[0].key);
    const reply = provider.answerQuery(keys[0].secret, again.bytes, 2);
    expect(worstError(real, x, client.recoverResult(again, reply), rows, n)).toBeLessThan(2 ** -10);
    // A key with another key's answer gives noise, and says nothing.
    const wrong = client.makeQuery(masks.make(2), x);
    client.applyKey(wrong, keys[0].key);
    const y = client.recoverResult(wrong, provider.answerQuery(keys[1].secret, wrong.bytes, 2));
    expect(y.every(Number.isFinite)).toBe(true);
    expect(worstError(real, x, y, rows, n)).toBeGreaterThan(2 ** -3);
  });

  it("any bytes of the right length are a key; others are refused", () => {
    const { layer } = gaussianLayer(2, 96);
    const { weights, hint } = layer.encrypted;
    const { client } = layer;
    for (const fill of [0, 255]) {
      const key = client.loadKey({
        weights: new Uint8Array(weights.length).fill(fill),
        hint: new Uint8Array(hint.length).fill(fill),
      });
      const query = client.makeQuery(layer.masks.make(1), new Float32Array(96).fill(1));
      client.applyKey(query, key);
      const y = client.recoverResult(query, new Uint8Array(client.replyBytes).fill(fill));
      expect(y.every(Number.isFinite)).toBe(true);
      client.releaseKey(key);
    }
    expect(() => client.loadKey({ weights: weights.subarray(1), hint })).toThrow(RangeError);
    expect(() => client.loadKey({ weights: new Uint8Array([...weights, 0]), hint })).toThrow(RangeError);
    expect(() => client.loadKey({ weights, hint: hint.subarray(1) })).toThrow(RangeError);
  });

  it("a released key's memory is wiped and serves the next one", () => {
    const { layer } = gaussianLayer(3, 900);
    const { client, kernels, encrypted } = layer;
    const key = client.loadKey(encrypted);
    client.releaseKey(key);
    expect(kernels.bytes(key.weightsLo, 3 * 2 * 912).every((byte) => byte === 0)).toBe(true);
    expect(kernels.bytes(key.hintHi, 3 * 2 * 2048).every((byte) => byte === 0)).toBe(true);
    const top = kernels.allocate(0);
    for (let i = 0; i < 5; i++) client.releaseKey(client.loadKey(encrypted));
    expect(kernels.allocate(0)).toBe(top);
  });

  it.each([
    ["answerQuery", "innerProducts"],
    ["encryptWeights", "addProductOf"],
    ["encryptWeights", "addUniform"],
    ["deriveSecret", "sampleUniform"],
    ["applyKey", "innerProducts"],
    ["loadKey", "splitWords"],
  ] as const)("go back to the pool when %s fails in the kernel's %s", (step, kernel) => {
    const { layer } = gaussianLayer(2, 300);
    const { client, provider, kernels, masks, encrypted, key, secret, seed } = layer;
    const query = client.makeQuery(masks.make(1), new Float32Array(300).fill(1));
    const steps = {
      answerQuery: () => provider.answerQuery(secret, query.bytes, 1),
      encryptWeights: () => provider.encryptWeights(seed),
      deriveSecret: () => provider.deriveSecret(seed),
      applyKey: () => client.applyKey(query, key),
      loadKey: () => client.loadKey(encrypted),
    };
    vi.spyOn(kernels, kernel).mockImplementation(() => {
      throw new Error("a trap");
    });
    expect(steps[step]).toThrow("a trap");
    const top = kernels.allocate(0);
    for (let i = 0; i < 3; i++) expect(steps[step]).toThrow("a trap");
    expect(kernels.allocate(0)).toBe(top);
  });

  it("leave nothing of S, E or a seed in the provider's memory", () => {
    const { layer } = gaussianLayer(2, 300);
    const { provider, kernels } = layer;
    const seed = new Uint8Array(32);
    seededRandom("seed")(seed);
    const memory = () => Buffer.from(kernels.bytes(0 as Address, kernels.allocate(0)));
    const secret = provider.deriveSecret(seed);
    const bytes = Buffer.from(kernels.bytes(secret, 64).slice());
    const room = kernels.allocate(SPECTRUM_BYTES);
    kernels.transformSmall(secret, DEFAULT_PARAMETERS.keyLength, room, 1);
    const spectrum = Buffer.from(kernels.bytes(room, 64).slice());
    // The control: S and its transform are found while they are there.
    expect(memory().includes(bytes)).toBe(true);
    expect(memory().includes(spectrum)).toBe(true);
    kernels.wipe(room, SPECTRUM_BYTES);
    provider.releaseSecret(secret);
    provider.encryptWeights(seed);
    expect(memory().includes(bytes)).toBe(false);
    expect(memory().includes(spectrum)).toBe(false);
    expect(memory().includes(Buffer.from(seed))).toBe(false);
    expect(kernels.scratch().every((byte) => byte === 0)).toBe(true);
    expect(() => provider.encryptWeights(seed.subarray(1))).toThrow(RangeError);
    expect(() => provider.deriveSecret(new Uint8Array(33))).toThrow(RangeError);
  });
});

describe("refusals", () => {
  const [rows, n] = [2, 96];
  const { layer } = gaussianLayer(rows, n);
  const { client, provider, masks, key, secret } = layer;
  const x = new Float32Array(n).fill(1);

  it("wrong lengths at the client, which leave the masks as they were", () => {
    const one = masks.make(1);
    expect(() => client.makeQuery(one, new Float32Array(n + 1))).toThrow(RangeError);
    expect(() => client.makeQuery(one, new Float32Array(2 * n))).toThrow(RangeError);
    expect(() => client.makeQuery(one, x, new Uint8Array(client.queryBytes - 1))).toThrow(RangeError);
    expect(one.state).toBe("fresh");
    const query = client.makeQuery(one, x);
    client.applyKey(query, key);
    const reply = provider.answerQuery(secret, query.bytes, 1);
    expect(() => client.recoverResult(query, reply.subarray(1))).toThrow(RangeError);
    expect(() => client.recoverResult(query, reply, new Float32Array(rows + 1))).toThrow(RangeError);
    expect(client.recoverResult(query, reply)).toHaveLength(rows);
  });

  it("wrong lengths at the provider, with a typed error", () => {
    const { bytes } = client.makeQuery(masks.make(1), x);
    for (const bad of [bytes.subarray(1), new Uint8Array([...bytes, 0]), new Uint8Array(0)]) {
      expect(() => provider.answerQuery(secret, bad, 1)).toThrow(/a query of 1 vectors/);
      expect(() => provider.answerQuery(secret, bad, 1)).toThrow(TacetError);
    }
    for (const vectors of [0, -1, 2, 0.5, Number.NaN]) {
      expect(() => provider.answerQuery(secret, bytes, vectors)).toThrow(TacetError);
    }
  });

  it("a mask serves one query, a query one result", () => {
    const one = masks.make(1);
    const query = client.makeQuery(one, x);
    const reply = provider.answerQuery(secret, query.bytes, 1);
    expect(() => client.makeQuery(one, x)).toThrow(/one query/);
    expect(() => client.recoverResult(query, reply)).toThrow(/no key/);
    client.applyKey(query, key);
    client.recoverResult(query, reply);
    expect(one.state).toBe("spent");
    expect(() => client.makeQuery(one, x)).toThrow(/one query/);
    expect(() => client.recoverResult(query, reply)).toThrow(/closed/);
    expect(() => client.applyKey(query, key)).toThrow(/closed/);
    client.discard(query);
    const dropped = client.makeQuery(masks.make(1), x);
    client.discard(dropped);
    expect(() => client.applyKey(dropped, key)).toThrow(/closed/);
  });

  it("memory does not grow while queries come and go, and is wiped behind them", () => {
    const round = () => {
      const query = client.makeQuery(masks.make(3), new Float32Array(3 * n).fill(0.5));
      client.applyKey(query, key);
      const reply = provider.answerQuery(secret, query.bytes, 3);
      client.recoverResult(query, reply);
      return query;
    };
    const { activations, secrets } = round();
    const { kernels } = layer;
    expect(kernels.bytes(activations, 3 * 2 * n).every((byte) => byte === 0)).toBe(true);
    expect(kernels.bytes(secrets, 3 * 4096).every((byte) => byte === 0)).toBe(true);
    const top = kernels.allocate(0);
    for (let i = 0; i < 20; i++) round();
    expect(kernels.allocate(0)).toBe(top);
  });

  it("nothing of x is left in memory once a query is closed", () => {
    const { kernels } = layer;
    const activation = Float32Array.from({ length: n }, gaussianSource(99));
    const given = Buffer.from(activation.slice(0, 4).buffer);
    const query = client.makeQuery(masks.make(1), activation);
    const small = Buffer.from(kernels.bytes(query.activations, 2 * n).slice());
    const memory = () => Buffer.from(kernels.bytes(0 as Address, kernels.allocate(0)));
    // The control: x̂ is found while it is there.
    expect(memory().includes(small)).toBe(true);
    expect(memory().includes(given)).toBe(false);
    expect(kernels.scratch().every((byte) => byte === 0)).toBe(true);
    client.applyKey(query, key);
    client.recoverResult(query, provider.answerQuery(secret, query.bytes, 1));
    expect(memory().includes(small)).toBe(false);
  });

  it("layers of wrong sizes", () => {
    const real = gaussianMatrix(2, 96, 1);
    expect(() => makeLayer(real, 2, 95)).toThrow(RangeError);
    expect(() => makeLayer(real, 0, 96)).toThrow(RangeError);
    expect(() => makeLayer(new Float64Array(0), 1, 0)).toThrow(RangeError);
  });
});
