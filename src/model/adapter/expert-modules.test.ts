import { describe, expect, it } from "vitest";
import { expertModules } from "./expert-modules.ts";

const module = { name: "experts.down", rank: 4, inFeatures: 3, outFeatures: 2, scale: 2 };
const a = Float32Array.from({ length: 12 }, (_, i) => i);
const b = Float32Array.from({ length: 8 }, (_, i) => 10 * Math.floor(i / 4) + (i % 4));

describe("adapters of experts", () => {
  it("have for each expert its rows of A and every so-manieth column of B", () => {
    const found = expertModules(new Map([[module.name, { ...module, a, b, experts: 2 }]]));
    expect([...found.keys()]).toEqual(["experts.down[0/2]", "experts.down[1/2]"]);
    const [first, second] = found.values();
    expect(first).toEqual({
      ...module,
      name: "experts.down[0/2]",
      rank: 2,
      a: a.subarray(0, 6),
      b: Float32Array.of(0, 2, 10, 12),
    });
    expect([...second.a]).toEqual([6, 7, 8, 9, 10, 11]);
    expect([...second.b]).toEqual([1, 3, 11, 13]);
  });

  it("leave other modules as they are", () => {
    const plain = new Map([[module.name, { ...module, a, b }]]);
    expect(expertModules(plain)).toEqual(plain);
  });
});
