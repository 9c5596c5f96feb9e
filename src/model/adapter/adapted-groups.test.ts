import { describe, expect, it } from "vitest";
import { groupAdaptedModules } from "./adapted-groups.ts";

const layer = (n: number) => `model.layers.${n}`;
const INPUT_GROUPS = [0, 1].flatMap((n) => [
  ["q", "k", "v"].map((part) => `${layer(n)}.self_attn.${part}_proj`),
  [`${layer(n)}.self_attn.o_proj`],
  [`${layer(n)}.mlp.gate_proj`, `${layer(n)}.mlp.up_proj`],
  [`${layer(n)}.mlp.down_proj`],
]);
const module = (name: string, inFeatures = 8, outFeatures = 4) => ({ name, inFeatures, outFeatures });

describe("groupAdaptedModules", () => {
  it("keeps the forward order, whatever the order of the modules", () => {
    const modules = [
      module(`${layer(1)}.mlp.down_proj`, 16, 8),
      module(`${layer(0)}.self_attn.v_proj`, 8, 2),
      module(`${layer(1)}.self_attn.q_proj`),
      module(`${layer(0)}.self_attn.q_proj`, 8, 6),
    ];
    expect(groupAdaptedModules(modules, INPUT_GROUPS)).toEqual([
      {
        layer: 0,
        modules: [`${layer(0)}.self_attn.q_proj`, `${layer(0)}.self_attn.v_proj`],
        inFeatures: 8,
        outFeatures: [6, 2],
      },
      { layer: 1, modules: [`${layer(1)}.self_attn.q_proj`], inFeatures: 8, outFeatures: [4] },
      { layer: 1, modules: [`${layer(1)}.mlp.down_proj`], inFeatures: 16, outFeatures: [8] },
    ]);
    expect(groupAdaptedModules([], INPUT_GROUPS)).toEqual([]);
  });

  it("refuses what the layers do not have", () => {
    const lost =
      (name: string, groups = INPUT_GROUPS) =>
      () =>
        groupAdaptedModules([module(name)], groups);
    expect(lost("lm_head")).toThrow(
      expect.objectContaining({ code: "unsupported_adapter", message: expect.stringMatching(/lm_head/) }),
    );
    expect(lost(`${layer(2)}.mlp.down_proj`)).toThrow(/layers.2.mlp/);
  });

  it("counts the embedding to the first layer and the head to the last", () => {
    const groups = [["embed"], ...INPUT_GROUPS, ["lm_head"]];
    const embed = { ...module("embed", 50, 8), isEmbedding: true };
    expect(groupAdaptedModules([module("lm_head", 8, 50), embed], groups)).toEqual([
      { layer: 0, modules: ["embed"], inFeatures: 50, input: "ids", outFeatures: [8] },
      { layer: 1, modules: ["lm_head"], inFeatures: 8, outFeatures: [50] },
    ]);
  });

  it("refuses modules that disagree on the input they share, and repeated ones", () => {
    const q = module(`${layer(0)}.self_attn.q_proj`, 8);
    expect(() => groupAdaptedModules([q, module(`${layer(0)}.self_attn.k_proj`, 9)], INPUT_GROUPS)).toThrow(
      expect.objectContaining({ code: "bad_adapter" }),
    );
    expect(() => groupAdaptedModules([q, q], INPUT_GROUPS)).toThrow(RangeError);
  });
});
