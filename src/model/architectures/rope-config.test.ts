import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ropeFrequencies, ropeTables } from "../graph/rope.ts";
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

interface Case {
  readonly config: RawConfig;
  readonly short: readonly number[];
  readonly long: readonly number[];
  readonly attention_factor: number;
}

const { cases } = JSON.parse(
  readFileSync(new URL("../../../test/vectors/rope.json", import.meta.url), "utf8"),
) as { readonly cases: readonly Case[] };
const HEAD_DIM = 16;

describe("held against transformers (tools/rope-vectors.py)", () => {
  it.each(cases)("$config.rope_parameters", ({ config, short, long, attention_factor: factor }) => {
    const rope = parseRope(config);
    const close = (want: readonly number[]) => want.map((value) => expect.closeTo(value / want[0], 6));
    const relative = (context: "short" | "long", want: readonly number[]) =>
      [...ropeFrequencies(rope, HEAD_DIM, context)].map((value) => value / want[0]);
    expect(relative("short", short)).toEqual(close(short));
    expect(relative("long", long)).toEqual(close(long));
    expect(ropeTables(rope, HEAD_DIM, 1).cos[0]).toBeCloseTo(factor, 6);
    // The older spelling.
    const { rope_parameters: parameters, ...rest } = config;
    const { rope_theta, rope_type, ...scaling } = parameters as RawConfig;
    for (const key of ["rope_type", "type"]) {
      expect(parseRope({ ...rest, rope_theta, rope_scaling: { ...scaling, [key]: rope_type } })).toEqual(
        rope,
      );
    }
  });
});

describe("fields that nobody reads", () => {
  it.each<[RawConfig, string]>([
    [{ rope_scaling: { rope_type: "linear", factor: 2, beta_fast: 3 } }, "rope_scaling.beta_fast"],
    [{ rope_parameters: { rope_type: "default", factor: 2 } }, "rope_parameters.factor"],
    [{ rope_parameters: { rope_type: "yarn", factor: 2, extrapolation_factor: 1 } }, "extrapolation_factor"],
    [{ rope_parameters: { rope_type: "yarn", factor: 2, truncate: 1 } }, "rope_parameters.truncate"],
    [{ rope_parameters: { rope_type: "default", llama_4_scaling_beta: 0.1 } }, "llama_4_scaling_beta"],
    [{ rope_parameters: { rope_type: "ntk" } }, "rope_parameters.rope_type"],
    [{ rope_scaling: { type: "su" } }, "rope_scaling.type"],
    [{ rope_parameters: { full_attention: { rope_theta: 1 } } }, "rope_parameters.full_attention"],
  ])("are refused by name: %o", (raw, name) => {
    expect(() => parseRope({ max_position_embeddings: 64, ...raw })).toThrow(
      expect.objectContaining({ code: "unsupported_model", message: expect.stringContaining(name) }),
    );
  });

  it("of a family that reads them are not", () => {
    const raw = { rope_parameters: { rope_type: "default", llama_4_scaling_beta: 0.1 } };
    expect(parseRope(raw, { reads: ["llama_4_scaling_beta"] }).scaling).toEqual({ kind: "none" });
  });

  it("say nothing for a text: Qwen-VL's sections", () => {
    const raw = { rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] }, rope_theta: 1e6 };
    expect(parseRope(raw)).toEqual({ theta: 1e6, scaling: { kind: "none" } });
  });
});
