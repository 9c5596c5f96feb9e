import { describe, expect, it } from "vitest";
import { expressionCost } from "./expression-cost.ts";

describe("expressionCost", () => {
  it.each<[string, number]>([
    ["", 1],
    ["model\\.layers\\.\\d\\.q_proj", 1],
    [".*", 101],
    [".*?x", 101],
    ["[\\d]{1,}", 101],
    [".*q.*", (101 * 102) / 2],
    ["a?b?c??", 8],
    ["(q|k|v)_proj", 3],
    ["(?:a|b)(c|d|e)", 6],
    [".*a|.*b|c", 303], // one loop in each
    ["(?<name>.*)(?=x|y)", 202],
    ["[(*+?|]{2}\\(\\*\\|", 101],
    ["[\\]*]", 1],
  ])("of %j is %d for 100 characters", (source, cost) => {
    expect(expressionCost(source, 100)).toBe(cost);
  });

  it("lets through what trainers write, and not what takes years", () => {
    const unsloth =
      "(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2|o_proj|gate_proj|up_proj|down_proj).*?)|(?:\\bmodel\\.layers\\.[\\d]{1,}\\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\\.(?:(?:q_proj|k_proj|v_proj|o_proj)))";
    expect(expressionCost(unsloth, 60)).toBeLessThan(1e9);
    for (const hostile of [".*".repeat(12), "a?".repeat(40), "(a|a)".repeat(40), "(a|b?)(c|.*)".repeat(9)])
      expect(expressionCost(hostile, 60)).toBeGreaterThan(1e9);
  });
});
