import { describe, expect, it } from "vitest";
import { ropeFrequencies, ropeTables } from "./rope.ts";

describe("rotary frequencies", () => {
  it("falls from 1 by powers of theta", () => {
    const w = ropeFrequencies({ theta: 10000, scaling: { kind: "none" } }, 8);
    expect([...w]).toEqual([1, 0.1, 0.01, 0.001].map((value) => expect.closeTo(value, 12)));
  });

  it("keeps fast pairs, slows slow ones and blends between, with llama3", () => {
    const scaling = {
      kind: "llama3",
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContext: 128,
    } as const;
    const plain = ropeFrequencies({ theta: 500000, scaling: { kind: "none" } }, 20);
    const scaled = ropeFrequencies({ theta: 500000, scaling }, 20);
    expect(scaled[0]).toBe(plain[0]); // 128 / 2π turns in the context: above 4
    expect(scaled[9]).toBeCloseTo(plain[9] / 8, 15); // less than one turn
    const turns = (128 * plain[2]) / (2 * Math.PI); // 1.48
    const t = (turns - 1) / 3;
    expect(scaled[2]).toBeCloseTo(plain[2] * (t + (1 - t) / 8), 15);
  });

  it("pads the tables with columns that turn nothing", () => {
    const { cos, sin } = ropeTables({ theta: 100, scaling: { kind: "linear", factor: 2 } }, 4, 3, 3);
    expect([...cos.subarray(0, 3)]).toEqual([1, 1, 1]);
    expect(sin[6]).toBeCloseTo(Math.sin(2 / 2), 6);
    expect(sin[7]).toBeCloseTo(Math.sin(2 / 20), 6);
    expect(sin[8]).toBe(0);
  });
});
