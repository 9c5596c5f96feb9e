import { describe, expect, it } from "vitest";
import type { RawConfig } from "../config-fields.ts";
import { architectureOf } from "./architecture.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";

const small = {
  hidden_size: 96,
  intermediate_size: 160,
  num_attention_heads: 6,
  num_hidden_layers: 3,
  vocab_size: 300,
};
const none = [null, null, null];

function expectUnsupported(parse: () => unknown, ...named: string[]): void {
  for (const name of named) {
    expect(parse).toThrow(
      expect.objectContaining({ code: "unsupported_model", message: expect.stringContaining(name) }),
    );
  }
}

const expectBad = (parse: () => unknown) =>
  expect(parse).toThrow(expect.objectContaining({ code: "bad_checkpoint" }));

describe("what every family reads", () => {
  it("fills in what transformers fills in", () => {
    expect(llama.parseConfig(small)).toEqual({
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
      normedHeads: false,
      windows: none,
    });
  });

  it.each([{ num_key_value_heads: null, head_dim: null }, { dtype: "bfloat16" }, { torch_dtype: "float16" }])(
    "reads null as left out, and goes by the weights' own types: %o",
    (fields) => {
      expect(llama.parseConfig({ ...small, ...fields })).toEqual(llama.parseConfig(small));
    },
  );

  it.each<[RawConfig, ...string[]]>([
    [{ hidden_act: "gelu" }, "hidden_act", "gelu"],
    [{ rope_scaling: { rope_type: "yarn", factor: 2 } }, "rope_scaling.rope_type", "yarn"],
    [{ rope_scaling: { type: "dynamic", factor: 2 } }, "rope_scaling.type", "dynamic"],
    [{ rope_parameters: { rope_type: "longrope", factor: 2 } }, "rope_parameters.rope_type", "longrope"],
    [{ rope_parameters: { full_attention: { rope_theta: 1e6 } } }, "rope_parameters.full_attention"],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor"],
    [{ rope_parameters: { rope_theta: 1e4, partial_rotary_factor: 0.5 } }, "rope_parameters.partial"],
    [{ quantization_config: { bits: 4 } }, "quantization_config", "bits"],
    [{ attn_logit_softcapping: 50 }, "attn_logit_softcapping", "50"],
    [{ final_logit_softcapping: 30 }, "final_logit_softcapping"],
    [{ clip_qkv: 8 }, "clip_qkv"],
    [{ residual_multiplier: 0.22 }, "residual_multiplier"],
    [{ rope_interleaved: true }, "rope_interleaved"],
    [{ num_local_experts: 8 }, "num_local_experts"],
    [{ layer_types: ["full_attention", "linear_attention", "full_attention"] }, "layer_types[1]", "linear"],
  ])("refuses an option that would change the result: %o", (fields, ...named) => {
    for (const { parseConfig } of [llama, mistral, qwen2, qwen3]) {
      expectUnsupported(() => parseConfig({ ...small, ...fields }), ...named);
    }
  });

  it.each([
    { num_key_value_heads: 4 },
    { num_attention_heads: 5, num_key_value_heads: 2 },
    { hidden_size: "96" },
    { rms_norm_eps: 0 },
    { tie_word_embeddings: 1 },
    { rope_scaling: { rope_type: "llama3", factor: 8 } },
    { rope_scaling: "linear" },
    { head_dim: 15 },
    { layer_types: ["full_attention"] },
  ])("refuses a damaged field: %o", (fields) => {
    for (const { parseConfig } of [llama, mistral, qwen2, qwen3]) {
      expectBad(() => parseConfig({ ...small, ...fields }));
    }
  });
});

describe("what a family decides", () => {
  it("Llama: biases by the file, no window", () => {
    const { bias } = llama.parseConfig({ ...small, attention_bias: true, mlp_bias: true });
    expect(bias).toEqual({ qkv: true, attentionOut: true, mlp: true });
    const unused = { sliding_window: 8, use_sliding_window: false };
    expect(llama.parseConfig({ ...small, ...unused }).windows).toEqual(none);
    expectUnsupported(() => llama.parseConfig({ ...small, sliding_window: 8 }), "sliding_window = 8");
  });

  it("Mistral: no bias, one window for all layers unless the file says null", () => {
    const windows = (fields: RawConfig) => mistral.parseConfig({ ...small, ...fields }).windows;
    expect(windows({})).toEqual([4096, 4096, 4096]);
    expect(windows({ sliding_window: 8 })).toEqual([8, 8, 8]);
    expect(windows({ sliding_window: null })).toEqual(none);
    expect(mistral.parseConfig(small).bias).toEqual({ qkv: false, attentionOut: false, mlp: false });
    expectUnsupported(() => mistral.parseConfig({ ...small, attention_bias: true }), "attention_bias");
    expectUnsupported(() => windows({ layer_types: Array(3).fill("full_attention") }), "layer_types[0]");
    expectUnsupported(() => windows({ use_sliding_window: false }), "use_sliding_window");
    expectUnsupported(() => windows({ max_window_layers: 1 }), "max_window_layers");
    expectBad(() => windows({ sliding_window: 0 }));
  });

  it("Qwen2: bias on q, k and v, whatever the file says about it", () => {
    expect(qwen2.parseConfig(small).bias).toEqual({ qkv: true, attentionOut: false, mlp: false });
    expectUnsupported(() => qwen2.parseConfig({ ...small, attention_bias: false }), "attention_bias");
    expectUnsupported(() => qwen2.parseConfig({ ...small, mlp_bias: true }), "mlp_bias");
  });

  it("Qwen3: heads normed, of 128 entries unless the file says so; biases by the file, but none in the MLP", () => {
    expect(qwen3.parseConfig(small)).toMatchObject({ headDim: 128, normedHeads: true });
    const { bias } = qwen3.parseConfig({ ...small, attention_bias: true });
    expect(bias).toEqual({ qkv: true, attentionOut: true, mlp: false });
  });

  it.each([qwen2, qwen3])("Qwen: a window where it is asked for ($name)", ({ parseConfig }) => {
    const windows = (fields: RawConfig) => parseConfig({ ...small, ...fields }).windows;
    expect(windows({ sliding_window: 8, max_window_layers: 1 })).toEqual(none);
    const used = { use_sliding_window: true, sliding_window: 8 };
    expect(windows({ ...used, max_window_layers: 1 })).toEqual([null, 8, 8]);
    expect(windows({ ...used, max_window_layers: 0 })).toEqual([8, 8, 8]);
    expect(windows(used)).toEqual(none); // 28 layers are left out by default
    expect(windows({ ...used, sliding_window: null, max_window_layers: 0 })).toEqual(none);
    const layer_types = ["sliding_attention", "full_attention", "sliding_attention"];
    expect(windows({ ...used, max_window_layers: 3, layer_types })).toEqual([8, null, 8]);
    expectBad(() => windows({ sliding_window: 8, layer_types }));
  });
});

describe("architectureOf", () => {
  it.each([
    ["LlamaForCausalLM", "llama"],
    ["MistralForCausalLM", "mistral"],
    ["Qwen2ForCausalLM", "qwen2"],
    ["Qwen3ForCausalLM", "qwen3"],
  ])("knows %s, by either field", (name, model_type) => {
    expect(architectureOf({ architectures: [name] }).name).toBe(name);
    expect(architectureOf({ model_type }).name).toBe(name);
  });

  it("knows no other", () => {
    for (const raw of [{ architectures: ["T5Model"], model_type: "llama" }, { model_type: "t5" }, {}]) {
      expectUnsupported(() => architectureOf(raw), "is not supported");
    }
  });
});
