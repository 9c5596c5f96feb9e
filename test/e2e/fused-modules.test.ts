/**
 * Fused modules and Conv1D through a provider: modules of mixed ranks, and a GPT-2 whose file leaves "transformer."
 * out. What the client computes is held against float64 forward passes with the plaintext LoRA.
 */
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { chatGlmForward } from "../oracle/chatglm.ts";
import type { Rows } from "../oracle/decoder-math.ts";
import { gpt2Forward } from "../oracle/gpt2.ts";
import { CHATGLM, chatGlmShapes } from "../support/chatglm-checkpoint.ts";
import { asReleased, GPT2, gpt2Shapes } from "../support/gpt2-checkpoint.ts";
import { type TestModel, temporaryFolder, testModel } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import {
  distance,
  logitsInTwoParts,
  randomAdapter,
  randomWeights,
  SmallModels,
} from "../support/small-models.ts";

const folder = temporaryFolder();
const models = new SmallModels();
afterAll(async () => {
  await stopProviders();
  await models.dispose();
  folder.remove();
});

const IDS = [3, 49, 12, 5, 0, 41, 41, 17, 30, 2, 33, 8];

async function privateLogits(test: TestModel, name: string): Promise<Float32Array> {
  const state = join(folder.path, name);
  await test.writeState(state);
  const { url } = await startProvider(state);
  const remote = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: url });
  try {
    return await logitsInTwoParts(remote.model, IDS);
  } finally {
    await remote.close();
  }
}

function expectAdapted(got: Float32Array, want: Rows, base: Rows): void {
  expect(distance(got, want)).toBeLessThan(0.01);
  expect(distance(got, base)).toBeGreaterThan(0.1);
}

describe("fused modules through a provider", () => {
  it("ChatGLM: all four modules, ranks 4, 3 and 1", async () => {
    const weights = randomWeights(chatGlmShapes(CHATGLM), "chatglm");
    const layer = (n: number) => `transformer.encoder.layers.${n}`;
    const adapter = await randomAdapter(
      {
        r: 4,
        lora_alpha: 8,
        target_modules: "all-linear",
        rank_pattern: { dense: 3, "layers.1.mlp.dense_h_to_4h": 1 },
        alpha_pattern: { query_key_value: 2 },
      },
      [
        [`${layer(0)}.self_attention.query_key_value`, 40, 96, 4],
        [`${layer(0)}.self_attention.dense`, 48, 40, 3],
        [`${layer(0)}.mlp.dense_4h_to_h`, 56, 40, 4],
        [`${layer(1)}.self_attention.query_key_value`, 40, 96, 4],
        [`${layer(1)}.mlp.dense_h_to_4h`, 40, 112, 1],
      ],
      "chatglm-adapter",
    );
    const test = testModel(await models.write(CHATGLM, weights), adapter);
    const want = chatGlmForward(CHATGLM, weights, IDS, adapter.modules).logits;
    const base = chatGlmForward(CHATGLM, weights, IDS).logits;
    expectAdapted(await privateLogits(test, "chatglm"), want, base);
  });

  it("GPT-2 as released: all four modules, fan_in_fan_out, ranks 4, 3 and 1", async () => {
    const weights = randomWeights(gpt2Shapes(GPT2), "gpt2");
    const block = (n: number) => `transformer.h.${n}`;
    const adapter = await randomAdapter(
      {
        r: 4,
        lora_alpha: 8,
        fan_in_fan_out: true,
        target_modules: ["c_attn", "c_proj", "c_fc"],
        rank_pattern: { "attn.c_proj": 3, "h.1.mlp.c_fc": 1 },
      },
      [
        [`${block(0)}.attn.c_attn`, 36, 108, 4],
        [`${block(0)}.attn.c_proj`, 36, 36, 3],
        [`${block(1)}.mlp.c_fc`, 36, 144, 1],
        [`${block(1)}.mlp.c_proj`, 144, 36, 4],
      ],
      "gpt2-adapter",
    );
    const test = testModel(await models.write(GPT2, asReleased(weights)), adapter);
    const want = gpt2Forward(GPT2, weights, IDS, adapter.modules).logits;
    const base = gpt2Forward(GPT2, weights, IDS).logits;
    expectAdapted(await privateLogits(test, "gpt2"), want, base);
  });
});
