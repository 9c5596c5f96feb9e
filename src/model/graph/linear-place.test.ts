import { describe, expect, it } from "vitest";
import type { AdaptedGroup, DeltaSource } from "../delta-source.ts";
import { joinDeltas, type LinearPlace, matchGroups } from "./linear-place.ts";

const place = (layer: number, modules: string[], inFeatures: number, outFeatures: number[]): LinearPlace => ({
  layer,
  modules,
  inFeatures,
  outFeatures,
  bias: false,
});
const places = [place(0, ["q", "k", "v"], 4, [3, 1, 2]), place(0, ["o"], 3, [4]), place(1, ["r"], 4, [2])];
const group = (modules: string[], inFeatures: number, outFeatures: number[]): AdaptedGroup => ({
  layer: 0,
  modules,
  inFeatures,
  outFeatures,
});
const source = (...groups: AdaptedGroup[]): DeltaSource => ({
  groups,
  begin: () => expect.fail("not asked"),
});

describe("matchGroups", () => {
  it("finds each group's place", () => {
    const found = matchGroups(places, source(group(["v", "q"], 4, [2, 3]), group(["r"], 4, [2])));
    expect([...found]).toEqual([
      [places[0], 0],
      [places[2], 1],
    ]);
    expect(matchGroups(places, undefined).size).toBe(0);
  });

  it.each([
    ["an unknown module", [group(["x"], 4, [3])]],
    ["modules of two places", [group(["q", "o"], 4, [3, 4])]],
    ["another input length", [group(["q"], 5, [3])]],
    ["another output length", [group(["q", "v"], 4, [3, 3])]],
    ["a module twice", [group(["q", "q"], 4, [3, 3])]],
    ["the wrong order", [group(["o"], 3, [4]), group(["q"], 4, [3])]],
    ["one place in two groups", [group(["q"], 4, [3]), group(["k"], 4, [1])]],
  ])("refuses %s", (_, groups) => {
    expect(() => matchGroups(places, source(...groups))).toThrow(
      expect.objectContaining({ code: "unsupported_adapter" }),
    );
  });
});

describe("joinDeltas", () => {
  it.each([1, 2])("puts %d tokens of adapted modules into the columns of the place", (tokens) => {
    const v = Float32Array.from({ length: 2 * tokens }, (_, i) => 10 + i);
    const q = Float32Array.from({ length: 3 * tokens }, (_, i) => 20 + i);
    const joined = new Float32Array(6 * tokens);
    joinDeltas(places[0], ["v", "q"], [v, q], joined);
    const want = [20, 21, 22, 0, 10, 11, 23, 24, 25, 0, 12, 13];
    expect([...joined]).toEqual(want.slice(0, 6 * tokens));
  });

  it("refuses deltas of a wrong number or length", () => {
    const joined = new Float32Array(6);
    expect(() => joinDeltas(places[0], ["q"], [], joined)).toThrow(RangeError);
    expect(() => joinDeltas(places[0], ["q"], [new Float32Array(2)], joined)).toThrow(RangeError);
  });
});
