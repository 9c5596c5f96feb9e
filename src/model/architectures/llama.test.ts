import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TacetError } from "../../base/errors.ts";
import type { Architecture } from "./architecture.ts";
import type { RawConfig } from "./config-fields.ts";
import { llama, mistral, qwen2, qwen3 } from "./llama.ts";
import { architectureOf } from "./registry.ts";

const small = {
  hidden_size: 96,
  intermediate_size: 160,
  num_attention_heads: 6,
  num_hidden_layers: 3,
  num_key_value_heads: 6,
  vocab_size: 300,
};

/** What these families differ in, of their layers, which are alike but for windows. */
function parse({ describe }: Architecture, raw: RawConfig) {
  const { blocks, head, embedding, finalNorm, ...config } = describe(raw);
  const modules = blocks.map((layer) => layer.map(({ branches }) => branches[0].module));
  const attentions = modules.flat().flatMap((module) => (module.kind === "attention" ? [module] : []));
  const [attention] = attentions;
  const mlp = modules[0][1];
  if (mlp.kind !== "mlp") throw new Error("the second block of a layer is an MLP");
  const sliding = attentions.filter(({ window }) => window !== null);
  return {
    ...config,
    mlpSize: mlp.out.inFeatures,
    activation: mlp.activation,
    kvHeads: attention.kvHeads,
    headDim: attention.headDim,
    normEpsilon: finalNorm!.epsilon,
    rope: attention.rotary!.rope,
    tiedHead: head.place.weights?.[0] === `${embedding.place.modules[0]}.weight`,
    bias: { qkv: attention.in.bias, attentionOut: attention.out.bias, mlp: mlp.in.bias },
    normedHeads: attention.normed !== undefined,
    window:
      sliding.length === 0 ? null : { tokens: sliding[0].window, layers: sliding.map(({ layer }) => layer) },
  };
}

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
    expect(parse(llama, small)).toEqual({
      layers: 3,
      hiddenSize: 96,
      mlpSize: 160,
      activation: "silu",
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
      window: null,
    });
  });

  it.each([{ num_key_value_heads: null, head_dim: null }, { dtype: "bfloat16" }, { torch_dtype: "float16" }])(
    "reads null as left out, and goes by the weights' own types: %o",
    (fields) => {
      expect(parse(llama, { ...small, ...fields })).toEqual(parse(llama, small));
    },
  );

  it.each<[RawConfig, ...string[]]>([
    [{ hidden_act: "mish" }, "hidden_act", "mish"],
    [{ rope_scaling: { rope_type: "ntk", factor: 2 } }, "rope_scaling.rope_type", "ntk"],
    [{ rope_scaling: { type: "su", factor: 2 } }, "rope_scaling.type", "su"],
    [{ rope_parameters: { rope_type: "linear", factor: 2, beta: 1 } }, "rope_parameters.beta"],
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
    [{ dual_chunk_attention_config: { chunk_size: 262144 } }, "dual_chunk_attention_config"],
    [{ layer_types: ["full_attention", "linear_attention", "full_attention"] }, "layer_types[1]", "linear"],
  ])("refuses an option that would change the result: %o", (fields, ...named) => {
    for (const family of [llama, mistral, qwen2, qwen3]) {
      expectUnsupported(() => family.describe({ ...small, ...fields }), ...named);
    }
  });

  it.each([
    { num_hidden_layers: 2 ** 30 },
    { vocab_size: 1e300 },
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
    for (const family of [llama, mistral, qwen2, qwen3]) {
      expectBad(() => family.describe({ ...small, ...fields }));
    }
  });
});

describe("what a family decides", () => {
  it("Llama: biases by the file, no window", () => {
    const { bias } = parse(llama, { ...small, attention_bias: true, mlp_bias: true });
    expect(bias).toEqual({ qkv: true, attentionOut: true, mlp: true });
    const unused = { sliding_window: 8, use_sliding_window: false };
    expect(parse(llama, { ...small, ...unused }).window).toBeNull();
    expectUnsupported(() => parse(llama, { ...small, sliding_window: 8 }), "sliding_window = 8");
  });

  it("Mistral: no bias, one window for all layers unless the file says null", () => {
    const window = (fields: RawConfig) => parse(mistral, { ...small, ...fields }).window;
    expect(window({})).toEqual({ tokens: 4096, layers: [0, 1, 2] });
    expect(window({ sliding_window: 8 })).toEqual({ tokens: 8, layers: [0, 1, 2] });
    expect(window({ sliding_window: null })).toBeNull();
    expect(parse(mistral, small).bias).toEqual({ qkv: false, attentionOut: false, mlp: false });
    expectUnsupported(() => parse(mistral, { ...small, attention_bias: true }), "attention_bias");
    expectUnsupported(() => window({ layer_types: Array(3).fill("full_attention") }), "layer_types[0]");
    expectUnsupported(() => window({ use_sliding_window: false }), "use_sliding_window");
    expectUnsupported(() => window({ max_window_layers: 1 }), "max_window_layers");
    expectBad(() => window({ sliding_window: 0 }));
  });

  it("Qwen2: bias on q, k and v, whatever the file says about it", () => {
    expect(parse(qwen2, small).bias).toEqual({ qkv: true, attentionOut: false, mlp: false });
    expectUnsupported(() => parse(qwen2, { ...small, attention_bias: false }), "attention_bias");
    expectUnsupported(() => parse(qwen2, { ...small, mlp_bias: true }), "mlp_bias");
  });

  it("Qwen3: heads normed, of 128 entries unless the file says so; biases by the file, but none in the MLP", () => {
    expect(parse(qwen3, small)).toMatchObject({ headDim: 128, normedHeads: true });
    const { bias } = parse(qwen3, { ...small, attention_bias: true });
    expect(bias).toEqual({ qkv: true, attentionOut: true, mlp: false });
  });

  it.each([qwen2, qwen3])("Qwen: a window where it is asked for ($name)", (family) => {
    const window = (fields: RawConfig) => parse(family, { ...small, ...fields }).window;
    expect(window({ sliding_window: 8, max_window_layers: 1 })).toBeNull();
    const used = { use_sliding_window: true, sliding_window: 8 };
    expect(window({ ...used, max_window_layers: 1 })).toEqual({ tokens: 8, layers: [1, 2] });
    expect(window({ ...used, max_window_layers: 0 })).toEqual({ tokens: 8, layers: [0, 1, 2] });
    expect(window(used)).toBeNull(); // 28 layers are left out by default
    expect(window({ ...used, sliding_window: null, max_window_layers: 0 })).toBeNull();
    const layer_types = ["sliding_attention", "full_attention", "sliding_attention"];
    expect(window({ ...used, max_window_layers: 3, layer_types })).toEqual({ tokens: 8, layers: [0, 2] });
    expectBad(() => window({ sliding_window: 8, layer_types }));
  });
});

/** What the published files say beyond sizes, as far as a family looks at it. */
const PUBLISHED: readonly [name: string, raw: RawConfig, want: RawConfig][] = [
  [
    "Llama 1",
    { model_type: "llama", num_attention_heads: 32, rms_norm_eps: 1e-6, max_sequence_length: 2048 },
    { kvHeads: 32, headDim: 128, trainedContext: 2048, rope: { theta: 10000, scaling: { kind: "none" } } },
  ],
  [
    "Llama 2",
    { architectures: ["LlamaForCausalLM"], num_key_value_heads: 8, pretraining_tp: 1, rope_scaling: null },
    { kvHeads: 8, tiedHead: false, window: null },
  ],
  [
    "Llama 3.2 1B",
    {
      architectures: ["LlamaForCausalLM"],
      attention_bias: false,
      head_dim: 64,
      hidden_size: 2048,
      max_position_embeddings: 131072,
      mlp_bias: false,
      num_key_value_heads: 8,
      rope_scaling: {
        factor: 32,
        high_freq_factor: 4,
        low_freq_factor: 1,
        original_max_position_embeddings: 8192,
        rope_type: "llama3",
      },
      rope_theta: 500000,
      tie_word_embeddings: true,
    },
    { headDim: 64, tiedHead: true, trainedContext: 131072 },
  ],
  [
    "SmolLM2",
    {
      architectures: ["LlamaForCausalLM"],
      hidden_size: 576,
      is_llama_config: true,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      rope_interleaved: false,
      rope_theta: 100000,
    },
    { headDim: 64, kvHeads: 3 },
  ],
  [
    "Mistral 7B 0.1",
    { architectures: ["MistralForCausalLM"], num_key_value_heads: 8, sliding_window: 4096 },
    { headDim: 128, window: { tokens: 4096, layers: Array.from({ length: 32 }, (_, layer) => layer) } },
  ],
  [
    "Mistral 7B 0.3",
    { architectures: ["MistralForCausalLM"], num_key_value_heads: 8, rope_theta: 1e6, sliding_window: null },
    { window: null },
  ],
  [
    "Qwen2.5 0.5B",
    {
      architectures: ["Qwen2ForCausalLM"],
      hidden_size: 896,
      max_window_layers: 21,
      num_attention_heads: 14,
      num_hidden_layers: 24,
      num_key_value_heads: 2,
      rope_theta: 1e6,
      sliding_window: 32768,
      tie_word_embeddings: true,
      use_mrope: false,
      use_sliding_window: false,
    },
    { headDim: 64, window: null, bias: { qkv: true, attentionOut: false, mlp: false } },
  ],
  [
    "Qwen3 0.6B",
    {
      architectures: ["Qwen3ForCausalLM"],
      attention_bias: false,
      head_dim: 128,
      hidden_size: 1024,
      max_window_layers: 28,
      num_attention_heads: 16,
      num_hidden_layers: 28,
      num_key_value_heads: 8,
      rope_scaling: null,
      rope_theta: 1e6,
      sliding_window: null,
      tie_word_embeddings: true,
      use_sliding_window: false,
    },
    { headDim: 128, normedHeads: true, window: null },
  ],
  [
    "Qwen3 0.6B as transformers 5 saves it",
    {
      architectures: ["Qwen3ForCausalLM"],
      dtype: "bfloat16",
      head_dim: 128,
      layer_types: Array(28).fill("full_attention"),
      max_window_layers: 28,
      num_hidden_layers: 28,
      rope_parameters: { rope_theta: 1e6, rope_type: "default" },
      sliding_window: null,
      use_sliding_window: false,
    },
    { rope: { theta: 1e6, scaling: { kind: "none" } }, window: null },
  ],
];

it.each(PUBLISHED)("reads %s", (_, raw, want) => {
  expect(parse(architectureOf(raw), raw)).toMatchObject(want);
});

it("never fails but with an error of its own, whatever the fields hold", () => {
  const value = fc.oneof(
    fc.constantFrom(
      "linear",
      "llama3",
      "silu",
      "sliding_attention",
      null,
      true,
      false,
      0,
      1,
      2,
      8,
      64,
      -1,
      1e9,
    ),
    fc.jsonValue(),
  );
  const fields = [
    ...Object.keys({ ...small, ...PUBLISHED[2][1], ...PUBLISHED[6][1], ...PUBLISHED[8][1] }),
    "hidden_act",
    "rms_norm_eps",
    "quantization_config",
  ];
  const record = fc.dictionary(fc.constantFrom(...fields), value, { maxKeys: 4 });
  const rope = fc.dictionary(fc.constantFrom("type", "rope_type", "factor", "rope_theta"), value);
  const config = fc.record({
    record,
    rope,
    spelling: fc.constantFrom("rope_scaling", "rope_parameters", "x"),
  });
  fc.assert(
    fc.property(
      config,
      fc.constantFrom(llama, mistral, qwen2, qwen3),
      ({ record, rope, spelling }, family) => {
        try {
          const parsed = parse(family, { ...small, [spelling]: rope, ...record });
          expect(parsed.heads % parsed.kvHeads).toBe(0);
        } catch (error) {
          expect(error).toBeInstanceOf(TacetError);
        }
      },
    ),
    { numRuns: process.env.SLOW ? 5_000 : 300 },
  );
});

describe("architectureOf", () => {
  it.each([
    ["LlamaForCausalLM", "llama"],
    ["MistralForCausalLM", "mistral"],
    ["Qwen2ForCausalLM", "qwen2"],
    ["Qwen3ForCausalLM", "qwen3"],
    ["ChatGLMModel", "chatglm"],
    ["GPT2LMHeadModel", "gpt2"],
  ])("knows %s, by either field", (name, model_type) => {
    expect(architectureOf({ architectures: [name] }).name).toBe(name);
    expect(architectureOf({ model_type }).name).toBe(name);
  });

  it("refuses a model_type of another family", () => {
    const raw = { architectures: ["LlamaForCausalLM"], model_type: "mistral" };
    expectUnsupported(() => architectureOf(raw), 'model_type = "mistral"');
  });

  it("knows no other", () => {
    for (const raw of [{ architectures: ["T5Model"], model_type: "llama" }, { model_type: "t5" }, {}]) {
      expectUnsupported(() => architectureOf(raw), "is not supported");
    }
  });
});
