import { describe, expect, it } from "vitest";
import type { RawConfig } from "./config-fields.ts";
import { parseRope } from "./rope-config.ts";

const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 128 };
const stretched = {
  kind: "llama3",
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalContext: 128,
};
const plain = { kind: "none" };
const linear = { kind: "linear", factor: 2 };

describe("parseRope", () => {
  it.each<[RawConfig, unknown]>([
    [{}, { theta: 10000, scaling: plain }],
    [
      { rope_theta: 5e5, rope_scaling: null },
      { theta: 5e5, scaling: plain },
    ],
    [{ rope_scaling: { rope_type: "default" } }, { theta: 10000, scaling: plain }],
    [{ rope_scaling: { type: "linear", factor: 2 } }, { theta: 10000, scaling: linear }],
    [{ rope_scaling: { type: "linear", rope_type: "linear", factor: 2 } }, { theta: 10000, scaling: linear }],
    [
      { rope_theta: 5e5, rope_scaling: { rope_type: "llama3", ...llama3 } },
      { theta: 5e5, scaling: stretched },
    ],
    [{ rope_parameters: { rope_theta: 5e5 } }, { theta: 5e5, scaling: plain }],
    [
      { rope_parameters: { rope_type: "llama3", rope_theta: 5e5, ...llama3 } },
      { theta: 5e5, scaling: stretched },
    ],
    [
      { rope_theta: 5e5, rope_parameters: { rope_type: "default" } },
      { theta: 5e5, scaling: plain },
    ],
    [
      {
        rope_theta: 5e5,
        rope_scaling: { type: "linear", factor: 2 },
        rope_parameters: { type: "linear", factor: 2 },
      },
      { theta: 5e5, scaling: linear },
    ],
  ])("reads the older and the newer spelling: %o", (raw, rope) => {
    expect(parseRope(raw)).toEqual(rope);
  });

  it.each<[RawConfig, string]>([
    [{ rope_theta: 1e4, rope_parameters: { rope_theta: 1e6 } }, "rope_parameters.rope_theta"],
    [{ rope_scaling: { type: "linear", rope_type: "default", factor: 2 } }, "rope_scaling.type"],
    [{ rope_scaling: { type: "linear", factor: 2 }, rope_parameters: { factor: 2 } }, "rope_parameters"],
    [{ rope_scaling: { type: "linear" } }, "rope_scaling.factor"],
    [{ rope_scaling: { rope_type: "llama3", ...llama3, high_freq_factor: 1 } }, "rope_scaling.high_freq"],
    [{ rope_theta: -1 }, "rope_theta"],
    [{ rope_parameters: [] }, "rope_parameters"],
  ])("refuses what is damaged or says two things: %o", (raw, name) => {
    expect(() => parseRope(raw)).toThrow(
      expect.objectContaining({ code: "bad_checkpoint", message: expect.stringContaining(name) }),
    );
  });
});
