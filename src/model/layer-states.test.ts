import { describe, expect, it } from "vitest";
import { KvCache } from "./kv-cache.ts";
import { LayerStates, mostStateBytes } from "./layer-states.ts";

/** A layer with keys and values, one with two states, one that keeps nothing. */
const LAYERS = [{ kvHeads: 1, headDim: 1 }, { states: [[1, 2], [3]] }, null] as const;
const shape = { layers: LAYERS, maxTokens: 64 };

/** Reads so many tokens, as a forward pass does; the states then say how many have been read. */
function read(cache: KvCache, tokens: number): void {
  if (tokens > 1) cache.mark();
  cache.reserve(cache.length + tokens);
  cache.store(0, new Float32Array(2 * tokens));
  cache.storeState("new_state.1.0", Float32Array.of(cache.length + tokens, 0));
  cache.storeState("new_state.1.1", Float32Array.of(cache.length + tokens, 0, 0));
  cache.commit(new Array<number>(tokens).fill(0));
}

const stateOf = (cache: KvCache) =>
  ["state.1.0", "state.1.1"].map((name) => (new Map(cache.tensors()).get(name)!.data as Float32Array)[0]);

describe("a cache with states", () => {
  it("gives the state of what has been read, zeros at first", () => {
    const cache = new KvCache(shape, 4);
    expect(stateOf(cache)).toEqual([0, 0]);
    expect(new Map(cache.tensors()).get("state.1.0")).toMatchObject({ type: "float32", dims: [1, 2] });
    read(cache, 5);
    read(cache, 1);
    expect(stateOf(cache)).toEqual([6, 6]);
  });

  it("does not count what has been stored and not committed", () => {
    const cache = new KvCache(shape, 4);
    read(cache, 3);
    cache.storeState("new_state.1.0", Float32Array.of(99, 99));
    expect(stateOf(cache)).toEqual([3, 3]);
    cache.truncate(3);
    expect(stateOf(cache)).toEqual([3, 3]);
  });

  it("goes back to where a prompt began, and to the start", () => {
    const cache = new KvCache(shape, 4);
    read(cache, 10);
    read(cache, 1);
    read(cache, 5); // begins at 11
    read(cache, 1);
    expect([17, 16, 11, 10, 0].map((length) => cache.keepable(length))).toEqual([17, 11, 11, 0, 0]);
    expect(() => cache.truncate(16)).toThrow(/11 tokens, not to 16/);
    cache.truncate(11);
    expect(cache.length).toBe(11);
    expect(stateOf(cache)).toEqual([11, 11]);
    read(cache, 2);
    expect(stateOf(cache)).toEqual([13, 13]);
    cache.truncate(0);
    expect(stateOf(cache)).toEqual([0, 0]);
    expect(cache.keepable(0)).toBe(0);
  });

  it("forks with the states of an earlier length, and goes on without the other one", () => {
    const cache = new KvCache(shape, 4);
    read(cache, 4);
    read(cache, 4);
    const fork = cache.fork(4);
    expect([fork.length, ...stateOf(fork)]).toEqual([4, 4, 4]);
    read(fork, 1);
    expect(stateOf(fork)).toEqual([5, 5]);
    expect([cache.length, ...stateOf(cache)]).toEqual([8, 8, 8]);
    expect(() => cache.fork(5)).toThrow(RangeError);
  });

  it("keeps so many marks, and says what they take", () => {
    const cache = new KvCache(shape, 64);
    for (let i = 0; i < 10; i++) read(cache, 2);
    expect(cache.keepable(15)).toBe(14);
    expect(cache.keepable(13)).toBe(0);
    const states = new LayerStates(shape);
    expect(states.bytes).toBe(4 * 5);
    expect(cache.bytes - 64 * 2 * 4).toBeLessThanOrEqual(mostStateBytes(shape));
  });

  it("keeps any number of tokens without states", () => {
    const plain = new KvCache({ layers: [{ kvHeads: 1, headDim: 1 }], maxTokens: 9 }, 4);
    plain.commit([0, 0, 0]);
    expect(plain.keepable(2)).toBe(2);
    expect(plain.bytes).toBe(4 * 2 * 4);
  });
});
