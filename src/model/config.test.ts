import { describe, expect, it } from "vitest";
import { architectureOf } from "./architectures/architecture.ts";
import { parseLlamaConfig } from "./config.ts";

const small = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 96,
  intermediate_size: 160,
  num_attention_heads: 6,
  num_hidden_layers: 3,
  vocab_size: 300,
};

describe("parseLlamaConfig", () => {
  it("fills in what transformers fills in", () => {
    expect(parseLlamaConfig(small)).toEqual({
      layers: 3,
      hiddenSize: 96,
      mlpSize: 160,
      heads: 6,
      kvHeads: 6,
      headDim: 16,
      vocabSize: 300,
      trainedContext: 2048,
      normEpsilon: 1e-6,
      rope: { theta: 10000, scaling: { kind: "none" } },
      tiedHead: false,
      bias: { qkv: false, attentionOut: false, mlp: false },
    });
  });

  it("reads the rotary settings in the older and the newer spelling", () => {
    const linear = { kind: "linear", factor: 2 };
    expect(parseLlamaConfig({ ...small, rope_scaling: { type: "linear", factor: 2 } }).rope.scaling).toEqual(
      linear,
    );
    const rope_parameters = { rope_type: "linear", rope_theta: 5e5, factor: 2 };
    expect(parseLlamaConfig({ ...small, rope_parameters }).rope).toEqual({ theta: 5e5, scaling: linear });
    expect(parseLlamaConfig({ ...small, rope_scaling: { rope_type: "default" } }).rope.scaling.kind).toBe(
      "none",
    );
  });

  it.each([
    [{ hidden_act: "gelu" }, "hidden_act"],
    [{ rope_scaling: { rope_type: "yarn", factor: 2 } }, "rope_scaling.rope_type"],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
    [{ quantization_config: { bits: 4 } }, "quantization_config"],
  ])("refuses an option that would change the result: %o", (fields, name) => {
    const parse = () => parseLlamaConfig({ ...small, ...fields });
    expect(parse).toThrow(
      expect.objectContaining({ code: "unsupported_model", message: expect.stringContaining(name) }),
    );
  });

  it.each([
    { num_key_value_heads: 4 },
    { num_attention_heads: 5 },
    { hidden_size: "96" },
    { rms_norm_eps: 0 },
    { tie_word_embeddings: 1 },
    { rope_scaling: { rope_type: "llama3", factor: 8 } },
    { head_dim: 15 },
  ])("refuses a damaged field: %o", (fields) => {
    expect(() => parseLlamaConfig({ ...small, ...fields })).toThrow(
      expect.objectContaining({ code: "bad_checkpoint" }),
    );
  });

  it("knows no other architecture", () => {
    expect(architectureOf({ model_type: "llama" }).name).toBe("LlamaForCausalLM");
    for (const raw of [{ architectures: ["T5Model"], model_type: "llama" }, { model_type: "t5" }, {}]) {
      expect(() => architectureOf(raw)).toThrow(expect.objectContaining({ code: "unsupported_model" }));
    }
  });
});
