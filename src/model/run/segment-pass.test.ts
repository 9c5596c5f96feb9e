import { describe, expect, it } from "vitest";
import type { DeltaSource } from "../delta-source.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import { KvCache } from "../kv-cache.ts";
import type { LoadedModel, LoadedSegment } from "./loaded-model.ts";
import { type GivenMemory, SegmentPass } from "./segment-pass.ts";

const place = (...modules: string[]): LinearPlace => ({
  ...{ layer: 0, modules, inFeatures: 2, outFeatures: modules.map(() => 2), bias: false },
});
/** Two places of the same widths; of the second one only `v` is adapted. */
const PLACES = [place("a", "b"), place("k", "v")];
const groups = [["a", "b"], ["v"]].map((modules) => ({
  ...{ modules, inFeatures: 2, outFeatures: modules.map(() => 2) },
}));
const deltas = { groups } as unknown as DeltaSource;
const model: LoadedModel = {
  ...{ segments: [], places: PLACES, pairs: new Map(), loras: new Map(), deltas },
  slotOf: new Map(["delta.0", "delta.1"].map((name, slot) => [name, slot])),
};
const releasing = (...release: number[]) => ({ release }) as unknown as LoadedSegment;

function newPass(tokens: number): { pass: SegmentPass; memory: GivenMemory } {
  const cache = new KvCache({ layers: [], maxTokens: 9 }, 1);
  const memory = { ofStep: new Map(), free: new Map() };
  const ids = Array.from({ length: tokens }, () => 0);
  return { pass: new SegmentPass(model, cache, memory, { ids, firstRow: -1 }), memory };
}

/** As a source does that has several tokens: new arrays of one number. */
const answering = (group: number, tokens: number, value: number) => async () =>
  groups[group].modules.map(() => new Float32Array(2 * tokens).fill(value));

describe("what a pass of several tokens gives to segments", () => {
  it("is in memory that a segment before has read, without what it held", async () => {
    const { pass } = newPass(2);
    await pass.giveDeltas(0, 0, answering(0, 2, 1));
    const first = pass.data(0);
    expect([...first]).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
    pass.release(releasing(0));
    await pass.giveDeltas(1, 1, answering(1, 2, 2));
    expect(pass.data(1)).toBe(first);
    expect([...first]).toEqual([0, 0, 2, 2, 0, 0, 2, 2]);
  });

  it("is in separate memory as long as a segment will read it", async () => {
    const { pass } = newPass(2);
    await pass.giveDeltas(0, 0, answering(0, 2, 1));
    await pass.giveDeltas(1, 1, answering(1, 2, 2));
    expect([...pass.data(0)]).toEqual(Array(8).fill(1));
  });

  it("is not used again after a pass that has failed", async () => {
    const { pass, memory } = newPass(2);
    await pass.giveDeltas(0, 0, answering(0, 2, 1));
    pass.end();
    expect(memory.free.size).toBe(0);
  });
});

describe("what a step gives", () => {
  it("is in the memory of the step before, slot by slot", async () => {
    const { pass, memory } = newPass(1);
    await pass.giveDeltas(0, 0, answering(0, 1, 1));
    await pass.giveDeltas(1, 1, answering(1, 1, 2));
    expect([...pass.data(1)]).toEqual([0, 0, 2, 2]);
    const again = new SegmentPass(model, new KvCache({ layers: [], maxTokens: 9 }, 1), memory, {
      ids: [0],
      firstRow: -1,
    });
    await again.giveDeltas(0, 0, answering(0, 1, 3));
    expect(again.data(0)).toBe(pass.data(0));
  });
});
