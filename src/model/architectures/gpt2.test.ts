import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import type { Weights } from "../../../test/oracle/decoder-math.ts";
import { type Gpt2Fields, gpt2Forward } from "../../../test/oracle/gpt2.ts";
import {
  distance,
  expectOwnErrors,
  logitsInTwoParts,
  randomAdapter,
  randomWeights,
  type Shapes,
  SmallModels,
  weightsOf,
  worstError,
} from "../../../test/support/small-models.ts";
import { nodePlatform } from "../../platform/node.ts";
import { nodeFileTree } from "../../platform/node-files.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { ACTIVATIONS } from "../blocks/activation.ts";
import { CausalLm } from "../causal-lm.ts";
import { fitAdapter } from "../fit-adapter.ts";
import { parseGpt2Config } from "./gpt2-config.ts";

const GOLDEN = "test/fixtures/golden/gpt2-f32";
const golden = JSON.parse(readFileSync(`${GOLDEN}/expected.json`, "utf8"));
const models = new SmallModels();
afterAll(() => models.dispose());

const CONFIG = {
  architectures: ["GPT2LMHeadModel"],
  n_embd: 36,
  n_head: 3,
  n_layer: 2,
  n_positions: 12,
  n_inner: null as number | null,
  vocab_size: 50,
  layer_norm_epsilon: 1e-5,
  activation_function: "gelu_new",
  scale_attn_weights: true,
  scale_attn_by_inverse_layer_idx: false,
  tie_word_embeddings: true,
};
/** As many as there are positions. */
const IDS = [3, 49, 12, 5, 0, 41, 41, 17, 30, 2, 33, 8];

function shapesOf(config: typeof CONFIG): Shapes {
  const { n_embd: width, vocab_size: vocab } = config;
  const inner = config.n_inner ?? 4 * width;
  const shapes: Record<string, readonly number[]> = {
    "transformer.wte.weight": [vocab, width],
    "transformer.wpe.weight": [config.n_positions, width],
    "transformer.ln_f.weight": [width],
    "transformer.ln_f.bias": [width],
  };
  if (!config.tie_word_embeddings) shapes["lm_head.weight"] = [vocab, width];
  for (let n = 0; n < config.n_layer; n++) {
    const conv1d = (name: string, from: number, to: number) => {
      shapes[`transformer.h.${n}.${name}.weight`] = [from, to];
      shapes[`transformer.h.${n}.${name}.bias`] = [to];
    };
    for (const norm of ["ln_1", "ln_2"]) {
      for (const part of ["weight", "bias"]) shapes[`transformer.h.${n}.${norm}.${part}`] = [width];
    }
    conv1d("attn.c_attn", width, 3 * width);
    conv1d("attn.c_proj", width, width);
    conv1d("mlp.c_fc", width, inner);
    conv1d("mlp.c_proj", inner, width);
  }
  return shapes;
}

/** As OpenAI's release is: names without "transformer.", and the causal mask among the tensors. */
function asReleased(weights: Weights): Weights {
  const bare = [...weights].map(([name, weight]) => [name.replace(/^transformer\./, ""), weight] as const);
  return new Map([
    ...bare,
    ["h.0.attn.bias", { shape: [1, 1, 12, 12], data: new Float32Array(144).fill(1) }],
    ["h.0.attn.masked_bias", { shape: [], data: Float32Array.of(-1e4) }],
  ]);
}

describe("the oracle", () => {
  it("gives the golden numbers", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree(GOLDEN));
    const weights = await weightsOf(checkpoint);
    const { modules } = await openLoraAdapter(nodeFileTree(`${GOLDEN}/adapter`));
    for (const [suffix, loras] of [
      ["", new Map()],
      ["_adapter", modules],
    ] as const) {
      const config = checkpoint.config as unknown as Gpt2Fields;
      const { logits, hiddenLast } = gpt2Forward(config, weights, golden.input_ids, loras);
      expect(worstError(golden[`logits_last${suffix}`], logits.slice(-1))).toBeLessThan(1e-5);
      expect(worstError(golden[`hidden_last${suffix}`].flat(), hiddenLast)).toBeLessThan(1e-5);
    }
  });
});

describe("GPT-2", () => {
  it.each<[string, Partial<typeof CONFIG> & Record<string, unknown>]>([
    ["up to its last position", {}],
    ["scores divided by the layer's number", { scale_attn_by_inverse_layer_idx: true }],
    ["scores as they are", { scale_attn_weights: false }],
    ["both in the other order", { scale_attn_by_inverse_layer_idx: true, reorder_and_upcast_attn: true }],
    ["a head of its own", { tie_word_embeddings: false }],
    ["a narrow MLP", { n_inner: 20 }],
    ["heads of 18 entries", { n_head: 2 }],
    ["another epsilon", { layer_norm_epsilon: 1e-2 }],
    ...ACTIVATIONS.map((name): [string, Partial<typeof CONFIG>] => [name, { activation_function: name }]),
  ])("is the oracle's: %s", async (_, fields) => {
    const config = { ...CONFIG, ...fields };
    const weights = randomWeights(shapesOf(config), "gpt2");
    const model = await models.load(await models.write(config, weights));
    const want = gpt2Forward(config, weights, IDS).logits;
    expect(worstError(await logitsInTwoParts(model, IDS), want)).toBeLessThan(2e-5);
  });

  it.each(["int8", "int4"] as const)("runs with %s weights, from a file without prefixes", async (format) => {
    const weights = randomWeights(shapesOf(CONFIG), "gpt2");
    const model = await models.loadQuantized(await models.write(CONFIG, asReleased(weights)), format);
    const error = distance(await logitsInTwoParts(model, IDS), gpt2Forward(CONFIG, weights, IDS).logits);
    expect(error).toBeLessThan(format === "int8" ? 0.05 : 0.5);
  });

  it("adapts all four modules of a file without prefixes, each with a rank of its own", async () => {
    const weights = randomWeights(shapesOf(CONFIG), "gpt2");
    const checkpoint = await models.write(CONFIG, asReleased(weights));
    const block = (n: number) => `transformer.h.${n}`;
    const lora = (fanInFanOut: boolean) =>
      randomAdapter(
        {
          r: 4,
          lora_alpha: 8,
          fan_in_fan_out: fanInFanOut,
          target_modules: ["c_attn", "c_proj", "c_fc"],
          rank_pattern: { "attn.c_proj": 3, "h.1.mlp.c_fc": 1 },
          alpha_pattern: { "mlp.c_proj": 2 },
        },
        [
          [`${block(0)}.attn.c_attn`, 36, 108, 4],
          [`${block(0)}.attn.c_proj`, 36, 36, 3],
          [`${block(1)}.attn.c_proj`, 36, 36, 3],
          [`${block(1)}.mlp.c_fc`, 36, 144, 1],
          [`${block(1)}.mlp.c_proj`, 144, 36, 4],
        ],
        "gpt2-adapter",
      );
    // Conv1D or not is the base's business: PEFT corrects a wrong fan_in_fan_out too.
    for (const adapter of [await lora(true), await lora(false)]) {
      const model = await models.load(checkpoint, adapter);
      const want = gpt2Forward(CONFIG, weights, IDS, adapter.modules).logits;
      const got = await logitsInTwoParts(model, IDS);
      expect(worstError(got, want)).toBeLessThan(2e-5);
      expect(worstError(got, gpt2Forward(CONFIG, weights, IDS).logits)).toBeGreaterThan(1e-2);
    }
    const crossed = await randomAdapter(
      { r: 2, lora_alpha: 2, target_modules: ["c_fc"] },
      [[`${block(0)}.mlp.c_fc`, 144, 36, 2]],
      "crossed",
    );
    expect(() => fitAdapter(crossed, checkpoint)).toThrow(
      /lora_A\.weight" of the adapter is \(2, 144\).* "transformer\.h\.0\.mlp\.c_fc\.weight" of the base model, \(36, 144\)/,
    );
  });

  it("has no more positions than its table", async () => {
    const weights = randomWeights(shapesOf(CONFIG), "gpt2");
    const checkpoint = await models.write(CONFIG, weights);
    const model = await models.load(checkpoint);
    expect(model.contextLength).toBe(12);
    await expect(model.forward([...IDS, 1], model.newCache())).rejects.toMatchObject({
      code: "context_overflow",
      message: expect.stringMatching(/13 tokens .* context of 12/),
    });
    await expect(
      CausalLm.load(checkpoint, nodePlatform().tensors, { contextLength: 13 }),
    ).rejects.toMatchObject({ code: "bad_argument", message: expect.stringMatching(/12 positions/) });
  });
});

describe("parseGpt2Config", () => {
  it("fills in what transformers fills in", () => {
    expect(parseGpt2Config({ model_type: "gpt2" })).toEqual({
      layers: 12,
      hiddenSize: 768,
      vocabSize: 50257,
      trainedContext: 1024,
      positionLimit: 1024,
      heads: 12,
      headDim: 64,
      mlpSize: 3072,
      normEpsilon: 1e-5,
      activation: "gelu_new",
      tiedHead: true,
      scaleByWidth: true,
      scaleByLayer: false,
    });
  });

  it("never fails but with an error of its own, whatever the fields hold", () => {
    expectOwnErrors(parseGpt2Config, CONFIG, ["add_cross_attention", "pruned_heads", "quantization_config"]);
  });

  it.each([
    { activation_function: "mish" },
    { activation_function: 3 },
    { add_cross_attention: true },
    { quantization_config: { bits: 8 } },
    { pruned_heads: { 0: [1] } },
  ])("refuses an option that would change the result: %o", (fields) => {
    expect(() => parseGpt2Config({ ...CONFIG, ...fields })).toThrow(
      expect.objectContaining({
        code: "unsupported_model",
        message: expect.stringContaining(Object.keys(fields)[0]),
      }),
    );
  });

  it.each([{ n_head: 5 }, { n_embd: "36" }, { n_inner: 0 }, { scale_attn_weights: 1 }])(
    "refuses a damaged field: %o",
    (fields) => {
      expect(() => parseGpt2Config({ ...CONFIG, ...fields })).toThrow(
        expect.objectContaining({ code: "bad_checkpoint" }),
      );
    },
  );
});
