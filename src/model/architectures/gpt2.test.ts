import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { type Gpt2Fields, gpt2Forward } from "../../../test/oracle/gpt2.ts";
import { asReleased, GPT2, gpt2Shapes } from "../../../test/support/gpt2-checkpoint.ts";
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
import { nodePlatform } from "../../platform/node.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { fitAdapter } from "../adapter/fit-adapter.ts";
import { CausalLm } from "../causal-lm.ts";
import { ACTIVATIONS } from "../graph/blocks/activation.ts";
import { parseGpt2Config } from "./gpt2-config.ts";

const GOLDEN = "test/fixtures/golden/gpt2-f32";
const golden = JSON.parse(readFileSync(`${GOLDEN}/expected.json`, "utf8"));
const models = new SmallModels();
afterAll(() => models.dispose());

/** As many as there are positions. */
const IDS = [3, 49, 12, 5, 0, 41, 41, 17, 30, 2, 33, 8];

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
  it.each<[string, Partial<typeof GPT2> & Record<string, unknown>]>([
    ["up to its last position", {}],
    ["scores divided by the layer's number", { scale_attn_by_inverse_layer_idx: true }],
    ["scores as they are", { scale_attn_weights: false }],
    ["both in the other order", { scale_attn_by_inverse_layer_idx: true, reorder_and_upcast_attn: true }],
    ["a head of its own", { tie_word_embeddings: false }],
    ["a narrow MLP", { n_inner: 20 }],
    ["heads of 18 entries", { n_head: 2 }],
    ["another epsilon", { layer_norm_epsilon: 1e-2 }],
    ...ACTIVATIONS.map((name): [string, Partial<typeof GPT2>] => [name, { activation_function: name }]),
  ])("is the oracle's: %s", async (_, fields) => {
    const config = { ...GPT2, ...fields };
    const weights = randomWeights(gpt2Shapes(config), "gpt2");
    const model = await models.load(await models.write(config, weights));
    const want = gpt2Forward(config, weights, IDS).logits;
    expect(worstError(await logitsInTwoParts(model, IDS), want)).toBeLessThan(2e-5);
  });

  it.each(["int8", "int4"] as const)("runs with %s weights, from a file without prefixes", async (format) => {
    const weights = randomWeights(gpt2Shapes(GPT2), "gpt2");
    const model = await models.loadQuantized(await models.write(GPT2, asReleased(weights)), format);
    const error = distance(await logitsInTwoParts(model, IDS), gpt2Forward(GPT2, weights, IDS).logits);
    expect(error).toBeLessThan(format === "int8" ? 0.05 : 0.5);
  });

  it("adapts all four modules of a file without prefixes, each with a rank of its own", async () => {
    const weights = randomWeights(gpt2Shapes(GPT2), "gpt2");
    const checkpoint = await models.write(GPT2, asReleased(weights));
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
      const want = gpt2Forward(GPT2, weights, IDS, adapter.modules).logits;
      const got = await logitsInTwoParts(model, IDS);
      expect(worstError(got, want)).toBeLessThan(2e-5);
      expect(worstError(got, gpt2Forward(GPT2, weights, IDS).logits)).toBeGreaterThan(1e-2);
    }
    const crossed = await randomAdapter(
      { r: 2, lora_alpha: 2, target_modules: ["c_fc"] },
      [[`${block(0)}.mlp.c_fc`, 144, 36, 2]],
      "crossed",
    );
    await expect(fitAdapter(crossed, checkpoint)).rejects.toThrow(
      /lora_A\.weight" of the adapter is \(2, 144\).* "transformer\.h\.0\.mlp\.c_fc\.weight" of the base model, \(36, 144\)/,
    );
  });

  it("has no more positions than its table", async () => {
    const weights = randomWeights(gpt2Shapes(GPT2), "gpt2");
    const checkpoint = await models.write(GPT2, weights);
    const model = await models.load(checkpoint);
    expect(model.contextLength).toBe(12);
    await expect(model.forward([...IDS, 1], model.newCache())).rejects.toMatchObject({
      code: "context_overflow",
      message: expect.stringMatching(/13 tokens .* context of 12/),
    });
    await expect(
      CausalLm.load(checkpoint, nodePlatform().tensors, { contextLength: 13 }),
    ).rejects.toMatchObject({ code: "bad_argument", message: expect.stringMatching(/12 tokens.*learned/) });
  });
});

describe("parseGpt2Config", () => {
  it("fills in what transformers fills in", () => {
    expect(parseGpt2Config({ model_type: "gpt2" })).toEqual({
      layers: 12,
      hiddenSize: 768,
      vocabSize: 50257,
      trainedContext: 1024,
      contextLimit: { tokens: 1024, reason: expect.stringContaining("learned") },
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
    expectOwnErrors(parseGpt2Config, GPT2, ["add_cross_attention", "pruned_heads", "quantization_config"]);
  });

  it.each([
    { activation_function: "mish" },
    { activation_function: 3 },
    { add_cross_attention: true },
    { quantization_config: { bits: 8 } },
    { pruned_heads: { 0: [1] } },
  ])("refuses an option that would change the result: %o", (fields) => {
    expect(() => parseGpt2Config({ ...GPT2, ...fields })).toThrow(
      expect.objectContaining({
        code: "unsupported_model",
        message: expect.stringContaining(Object.keys(fields)[0]),
      }),
    );
  });

  it.each([{ n_head: 5 }, { n_embd: "36" }, { n_inner: 0 }, { scale_attn_weights: 1 }])(
    "refuses a damaged field: %o",
    (fields) => {
      expect(() => parseGpt2Config({ ...GPT2, ...fields })).toThrow(
        expect.objectContaining({ code: "bad_checkpoint" }),
      );
    },
  );
});
