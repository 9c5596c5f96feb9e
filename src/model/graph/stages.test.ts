import { describe, expect, it } from "vitest";
import { stagesOf } from "./stages.ts";

/** "a b -> c": the first word names the node; one that begins with "P" is outside. Names that begin with "w" are constants. */
function stages(lines: readonly string[], results: readonly string[]) {
  const nodes = lines.map((line) => {
    const [name, inputs, outputs] = line.split(/\s*[:>]\s*/);
    return { name, inputs: inputs.split(" "), outputs: outputs.split(" ") };
  });
  const found = stagesOf(nodes, {
    isOutside: ({ name }) => name.startsWith("P"),
    isConstant: (name) => name.startsWith("w"),
    results,
  });
  return found.map((stage) => ({
    nodes: stage.nodes.map(({ name }) => name).join(" "),
    inputs: stage.inputs.join(" "),
    outputs: stage.outputs.join(" "),
    products: stage.outside.map(({ name }) => name).join(" "),
  }));
}

describe("stagesOf", () => {
  it("cuts behind each product, and hands on what is read later", () => {
    const lines = ["norm: h w1 > n", "P1: n w2 > q", "act: q > a", "P2: a w3 > d", "add: h d > out"];
    expect(stages(lines, ["out"])).toEqual([
      { nodes: "norm", inputs: "h", outputs: "n", products: "P1" },
      { nodes: "act", inputs: "q", outputs: "a", products: "P2" },
      { nodes: "add", inputs: "h d", outputs: "out", products: "" },
    ]);
  });

  it("products that do not wait for each other are in one stage, wherever they stand", () => {
    const lines = [
      "A: x > a",
      "P1: a w > b",
      "B: x > c",
      "P2: c w > d",
      "C: b d > e",
      "P3: x w > f",
      "D: e f > g",
    ];
    expect(stages(lines, ["g"])).toEqual([
      { nodes: "A B", inputs: "x", outputs: "a c", products: "P1 P2 P3" },
      { nodes: "C D", inputs: "b d f", outputs: "g", products: "" },
    ]);
  });

  it("a product alone has no part, a result may be a product's or be read again", () => {
    expect(stages(["P: x w > y"], ["y"])).toEqual([{ nodes: "", inputs: "", outputs: "", products: "P" }]);
    expect(stages(["A: x > a", "P: a w > y", "B: a y > b"], ["a", "y", "b"])).toEqual([
      { nodes: "A", inputs: "x", outputs: "a", products: "P" },
      { nodes: "B", inputs: "a y", outputs: "b", products: "" },
    ]);
  });

  it("what is computed of constants is computed where it is read", () => {
    const lines = ["turn: w1 > w2", "cut: w2 > w3", "A: x w3 > a", "P: a w4 > y", "B: y w2 > b"];
    expect(stages(lines, ["b"])).toEqual([
      { nodes: "turn cut A", inputs: "x", outputs: "a", products: "P" },
      { nodes: "turn B", inputs: "y", outputs: "b", products: "" },
    ]);
  });

  it("leaves optional values out, and makes nothing that nobody reads an output", () => {
    const lines = ["A: x  > a ", "P: a w > y", "B: y  > b unread"];
    expect(stages(lines, ["b"])).toEqual([
      { nodes: "A", inputs: "x", outputs: "a", products: "P" },
      { nodes: "B", inputs: "y", outputs: "b", products: "" },
    ]);
  });
});
