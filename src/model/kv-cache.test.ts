import { describe, expect, it } from "vitest";
import { KvCache } from "./kv-cache.ts";

const shape = { layers: Array(2).fill({ kvHeads: 2, headDim: 2 }), maxTokens: 9 };

/** Rows of one layer, (2·kvHeads, tokens, headDim): head·100 + position·10 + entry, values negative. */
function rows(first: number, tokens: number): Float32Array {
  const out: number[] = [];
  for (const sign of [1, -1]) {
    for (let head = 0; head < 2; head++) {
      for (let token = 0; token < tokens; token++) {
        for (let d = 0; d < 2; d++) out.push(sign * (1000 + head * 100 + (first + token) * 10 + d));
      }
    }
  }
  return Float32Array.from(out);
}

/** The rows in use, in the order of {@link rows}. */
function used(cache: KvCache, layer: number): number[] {
  const named = new Map(cache.tensors());
  return ["key", "value"].flatMap((part) => {
    const { data, dims } = named.get(`past.${layer}.${part}`)!;
    expect(dims).toEqual([1, 2, cache.capacity, 2]);
    return [0, 1].flatMap((head) => {
      const at = head * cache.capacity * 2;
      return [...(data as Float32Array).subarray(at, at + cache.length * 2)];
    });
  });
}

describe("KvCache", () => {
  it("keeps what is stored while it grows, and forgets what is truncated", () => {
    const cache = new KvCache(shape, 0);
    for (const [first, tokens] of [
      [0, 3],
      [3, 1],
      [4, 4],
    ]) {
      cache.reserve(cache.length + tokens);
      for (const layer of [0, 1]) cache.store(layer, rows(first, tokens));
      cache.commit(new Array<number>(tokens).fill(0));
      expect(used(cache, 0)).toEqual([...rows(0, first + tokens)]);
      expect(used(cache, 1)).toEqual(used(cache, 0));
    }
    cache.truncate(2);
    expect(used(cache, 1)).toEqual([...rows(0, 2)]);
    cache.store(1, rows(2, 1)); // not committed
    expect(cache.length).toBe(2);
    expect(() => cache.truncate(3)).toThrow(RangeError);
  });

  it("refuses more than the model's context, and rows it has no room for", () => {
    const cache = new KvCache(shape, 2);
    expect(() => cache.store(0, rows(0, 3))).toThrow(RangeError);
    expect(() => cache.reserve(10)).toThrow(expect.objectContaining({ code: "context_overflow" }));
    cache.reserve(9);
    expect(cache.capacity).toBe(9);
  });

  it("has layers of other sizes, and layers that keep nothing", () => {
    const layers = [{ kvHeads: 2, headDim: 2 }, null, { kvHeads: 1, headDim: 3 }];
    const cache = new KvCache({ layers, maxTokens: 9 }, 1);
    cache.store(0, rows(0, 1));
    cache.store(2, Float32Array.of(1, 2, 3, 4, 5, 6));
    cache.commit([0]);
    expect(cache.bytes).toBe(4 * (2 * 2 * 2 + 2 * 1 * 3));
    cache.reserve(4);
    const copy = new Map(cache.fork(1).tensors());
    expect([...copy.keys()]).toEqual(["past.0.key", "past.0.value", "past.2.key", "past.2.value"]);
    expect(copy.get("past.2.value")).toMatchObject({ dims: [1, 1, 1, 3], data: Float32Array.of(4, 5, 6) });
    expect(new Map(cache.tensors()).get("past.2.key")!.dims).toEqual([1, 1, 9, 3]);
  });

  it("takes at most an eighth and 64 tokens more than it needs", () => {
    const cache = new KvCache({ ...shape, maxTokens: 5000 }, 10);
    expect(cache.capacity).toBe(10);
    for (let tokens = 11; tokens < 3000; tokens++) {
      cache.reserve(tokens);
      expect(cache.capacity).toBeLessThanOrEqual(Math.ceil(1.125 * (tokens - 1)) + 64);
    }
    cache.reserve(4900);
    cache.reserve(4901);
    expect(cache.capacity).toBe(5000);
  });

  it("cannot be used after dispose, which may come twice", () => {
    const cache = new KvCache(shape, 2);
    cache.dispose();
    cache.dispose();
    expect(() => cache.reserve(1)).toThrow(TypeError);
  });
});
