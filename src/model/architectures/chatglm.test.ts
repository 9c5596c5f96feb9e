import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { type ChatGlmFields, chatGlmForward } from "../../../test/oracle/chatglm.ts";
import { CHATGLM, chatGlmShapes } from "../../../test/support/chatglm-checkpoint.ts";
import {
  distance,
  expectOwnErrors,
  logitsInTwoParts,
  randomAdapter,
  randomWeights,
  SmallModels,
  weightsOf,
  worstError,
} from "../../../test/support/small-models.ts";
import { nodeFileTree } from "../../platform/node/files/file-tree.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { type ChatGlmConfig, parseChatGlmConfig } from "./chatglm-config.ts";
import type { RawConfig } from "./config-fields.ts";
import { architectureOf } from "./registry.ts";

const GOLDEN = "test/fixtures/golden/chatglm2-f32";
const golden = JSON.parse(readFileSync(`${GOLDEN}/expected.json`, "utf8"));
const models = new SmallModels();
afterAll(() => models.dispose());

const IDS = [3, 69, 12, 5, 0, 41, 41, 17, 60, 2, 33];

describe("the oracle", () => {
  it("gives the golden numbers", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree(GOLDEN));
    const weights = await weightsOf(checkpoint);
    const { modules } = await openLoraAdapter(nodeFileTree(`${GOLDEN}/adapter`));
    for (const [suffix, loras] of [
      ["", new Map()],
      ["_adapter", modules],
    ] as const) {
      const config = checkpoint.config as unknown as ChatGlmFields;
      const { logits, hiddenLast } = chatGlmForward(config, weights, golden.input_ids, loras);
      expect(worstError(golden[`logits_last${suffix}`], logits.slice(-1))).toBeLessThan(1e-5);
      expect(worstError(golden[`hidden_last${suffix}`].flat(), hiddenLast)).toBeLessThan(1e-5);
    }
  });
});

describe("ChatGLM", () => {
  it.each<[string, Partial<typeof CHATGLM> & Record<string, unknown>]>([
    ["as ChatGLM2 is", {}],
    ["one key and value head for all", { multi_query_group_num: 1 }],
    ["a key and value head for each, in fused columns head by head", { multi_query_attention: false }],
    ["theta stretched by rope_ratio", { rope_ratio: 50 }],
    [
      "positions divided by rope_ratio, in ChatGLM2-32K",
      { rope_ratio: 3, _name_or_path: "THUDM/chatglm2-6b-32k" },
    ],
    ["blocks that add to the norm", { apply_residual_connection_post_layernorm: true }],
    ["no last norm", { post_layer_norm: false }],
    ["a bias everywhere", { add_bias_linear: true, add_qkv_bias: false }],
    ["no bias", { add_qkv_bias: false }],
    ["heads of 40 entries", { kv_channels: 40 }],
    ["heads of 16 entries", { kv_channels: 16 }],
    ["another epsilon", { layernorm_epsilon: 1e-2 }],
  ])("is the oracle's: %s", async (_, fields) => {
    const config = { ...CHATGLM, ...fields };
    const weights = randomWeights(chatGlmShapes(config), "chatglm");
    const checkpoint = await models.write(config, weights);
    const divide = "_name_or_path" in fields;
    const want = chatGlmForward(config, weights, IDS, new Map(), divide).logits;
    const model = await models.load(checkpoint);
    expect(worstError(await logitsInTwoParts(model, IDS), want)).toBeLessThan(2e-5);
  });

  it.each(["int8", "int4"] as const)("runs with %s weights", async (format) => {
    const weights = randomWeights(chatGlmShapes(CHATGLM), "chatglm");
    const model = await models.loadQuantized(await models.write(CHATGLM, weights), format);
    const error = distance(await logitsInTwoParts(model, IDS), chatGlmForward(CHATGLM, weights, IDS).logits);
    expect(error).toBeLessThan(format === "int8" ? 0.05 : 0.5);
  });

  it("refuses a file with biases that its configuration does not have", async () => {
    const weights = randomWeights(chatGlmShapes(CHATGLM), "chatglm");
    const checkpoint = await models.write({ ...CHATGLM, add_qkv_bias: false }, weights);
    await expect(models.load(checkpoint)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/layers\.0\.self_attention\.query_key_value\.bias/),
      hint: expect.stringMatching(/add_qkv_bias/),
    });
  });

  it("adapts all four modules, each with a rank of its own", async () => {
    const weights = randomWeights(chatGlmShapes(CHATGLM), "chatglm");
    const checkpoint = await models.write(CHATGLM, weights);
    const layer = (n: number) => `transformer.encoder.layers.${n}`;
    const adapter = await randomAdapter(
      {
        r: 4,
        lora_alpha: 8,
        target_modules: ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
        rank_pattern: { dense: 3, "layers.1.mlp.dense_h_to_4h": 1 },
        alpha_pattern: { query_key_value: 2 },
      },
      [
        [`${layer(0)}.self_attention.query_key_value`, 40, 96, 4],
        [`${layer(0)}.self_attention.dense`, 48, 40, 3],
        [`${layer(0)}.mlp.dense_4h_to_h`, 56, 40, 4],
        [`${layer(1)}.self_attention.query_key_value`, 40, 96, 4],
        [`${layer(1)}.mlp.dense_h_to_4h`, 40, 112, 1],
        [`${layer(1)}.mlp.dense_4h_to_h`, 56, 40, 4],
      ],
      "chatglm-adapter",
    );
    expect(adapter.modules.get(`${layer(0)}.self_attention.query_key_value`)?.scale).toBe(0.5);
    const model = await models.load(checkpoint, adapter);
    const want = chatGlmForward(CHATGLM, weights, IDS, adapter.modules).logits;
    const base = chatGlmForward(CHATGLM, weights, IDS).logits;
    const got = await logitsInTwoParts(model, IDS);
    expect(worstError(got, want)).toBeLessThan(2e-5);
    expect(worstError(got, base)).toBeGreaterThan(1e-2);
  });
});

describe("parseChatGlmConfig", () => {
  it("fills in what the model's own class fills in", () => {
    expect(parseChatGlmConfig({ model_type: "chatglm" })).toEqual({
      layers: 28,
      hiddenSize: 4096,
      vocabSize: 65024,
      trainedContext: 2048,
      heads: 32,
      kvHeads: 32,
      headDim: 128,
      mlpSize: 13696,
      normEpsilon: 1e-5,
      rope: { theta: 10000, scaling: { kind: "none" } },
      bias: { qkv: false, others: false },
      qkvOrder: "heads",
      residualAfterNorm: false,
      finalNorm: true,
    });
    expect(architectureOf({ model_type: "chatglm" }).name).toBe("ChatGLMModel");
  });

  it.each<[string, RawConfig, Partial<ChatGlmConfig>]>([
    [
      "ChatGLM2-6B",
      {
        _name_or_path: "THUDM/chatglm2-6b",
        add_qkv_bias: true,
        apply_query_key_layer_scaling: true,
        kv_channels: 128,
        multi_query_attention: true,
        multi_query_group_num: 2,
        original_rope: true,
        quantization_bit: 0,
        seq_length: 32768,
        tie_word_embeddings: false,
      },
      { kvHeads: 2, trainedContext: 32768, rope: { theta: 10000, scaling: { kind: "none" } } },
    ],
    [
      "ChatGLM3-6B-32K",
      {
        _name_or_path: "THUDM/chatglm3-6b-32k",
        multi_query_attention: true,
        rope_ratio: 50,
        pre_seq_len: null,
      },
      { kvHeads: 1, rope: { theta: 500_000, scaling: { kind: "none" } } },
    ],
    [
      "GLM-4-9B",
      {
        add_qkv_bias: true,
        layernorm_epsilon: 1.5625e-7,
        num_layers: 40,
        padded_vocab_size: 151552,
        rope_ratio: 500,
        multi_query_attention: true,
        multi_query_group_num: 2,
      },
      { layers: 40, normEpsilon: 1.5625e-7, rope: { theta: 5e6, scaling: { kind: "none" } } },
    ],
  ])("reads %s", (_, raw, want) => {
    expect(
      parseChatGlmConfig({ architectures: ["ChatGLMModel"], model_type: "chatglm", ...raw }),
    ).toMatchObject(want);
  });

  it("never fails but with an error of its own, whatever the fields hold", () => {
    expectOwnErrors(parseChatGlmConfig, CHATGLM, [
      "rope_ratio",
      "_name_or_path",
      "rmsnorm",
      "quantization_bit",
    ]);
  });

  /**
   * Every field of the models' own ChatGLMConfig (ChatGLM2 and 3, GLM-4), and what their code does with another value in
   * float32: nothing, or something else.
   */
  const WALK: readonly (readonly [field: string, value: unknown, effect: "none" | "another"])[] = [
    ["num_layers", 3, "another"],
    ["padded_vocab_size", 71, "another"],
    ["hidden_size", 44, "another"],
    ["ffn_hidden_size", 60, "another"],
    ["kv_channels", 16, "another"],
    ["num_attention_heads", 8, "another"],
    ["layernorm_epsilon", 1e-3, "another"],
    ["rmsnorm", false, "another"],
    ["apply_residual_connection_post_layernorm", true, "another"],
    ["post_layer_norm", false, "another"],
    ["add_bias_linear", true, "another"],
    ["add_qkv_bias", false, "another"],
    ["interleaved_qkv", true, "another"],
    ["multi_query_attention", false, "another"],
    ["multi_query_group_num", 1, "another"],
    ["rope_ratio", 50, "another"],
    ["original_rope", false, "another"],
    ["quantization_bit", 4, "another"],
    ["pre_seq_len", 128, "another"],
    ["tie_word_embeddings", true, "another"],
    // Of training, of prefixes that are refused, or of arithmetic in 16 bits.
    ["hidden_dropout", 0.1, "none"],
    ["attention_dropout", 0.1, "none"],
    ["classifier_dropout", 0.1, "none"],
    ["bias_dropout_fusion", false, "none"],
    ["prefix_projection", true, "none"],
    ["fp32_residual_connection", true, "none"],
    ["attention_softmax_in_fp32", false, "none"],
    ["apply_query_key_layer_scaling", false, "none"],
    // Of early files; no code reads it, half of each head is turned.
    ["rotary_percent", 0.5, "none"],
    ["use_cache", false, "none"],
  ];

  it.each(WALK)("ignores no field in silence: %s = %s (effect: %s)", (field, value, effect) => {
    const plain = parseChatGlmConfig(CHATGLM);
    const read = () => parseChatGlmConfig({ ...CHATGLM, [field]: value });
    if (effect === "none") return expect(read()).toEqual(plain);
    try {
      expect(read()).not.toEqual(plain);
    } catch (error) {
      expect(error).toMatchObject({ code: "unsupported_model", message: expect.stringContaining(field) });
    }
  });

  it.each([
    { rmsnorm: false },
    { original_rope: false },
    { quantization_bit: 4 },
    { pre_seq_len: 128 },
    { tie_word_embeddings: true },
    { interleaved_qkv: true },
    { position_encoding_2d: true },
    { inner_hidden_size: 16384 },
    { vision_config: { hidden_size: 1792 } },
  ])("refuses an option that would change the result: %o", (fields) => {
    expect(() => parseChatGlmConfig({ ...CHATGLM, ...fields })).toThrow(
      expect.objectContaining({
        code: "unsupported_model",
        message: expect.stringContaining(Object.keys(fields)[0]),
      }),
    );
  });

  it.each([
    { multi_query_group_num: 3 },
    { kv_channels: 10 },
    { rope_ratio: 0 },
    { add_qkv_bias: "yes" },
    { num_layers: 2.5 },
  ])("refuses a damaged field: %o", (fields) => {
    expect(() => parseChatGlmConfig({ ...CHATGLM, ...fields })).toThrow(
      expect.objectContaining({ code: "bad_checkpoint" }),
    );
  });
});
