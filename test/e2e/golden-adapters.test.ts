/**
 * Every kind of adapter that PEFT's LoRA writes, against transformers and peft: inside the graph, as a source of deltas,
 * and through a provider in a separate process. The private layers add their own error, so there the ids must be equal
 * and the logits near.
 */
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/client.ts";
import { CausalLm, type LoadOptions } from "../../src/model/causal-lm.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { type GoldenAdapter, goldenAdapters, worstOf } from "../support/golden-adapters.ts";
import { greedyIds, temporaryFolder, testModel } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

/** Refused by name. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "olora-raw": /base weights that olora changed/,
  alora: /activated LoRA/,
  "alora-absent": /activated LoRA/,
  "alora-all7": /activated LoRA/,
  experts: /Qwen3MoeForCausalLM/,
  router: /Qwen3MoeForCausalLM/,
};
/** Of the largest difference between two logits: what the private layers may add. */
const PRIVATE_ERROR = 0.02;

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const open = async ({ base, adapter }: GoldenAdapter) => ({
  checkpoint: await openCheckpoint(nodeFileTree(base)),
  adapter: await openLoraAdapter(nodeFileTree(adapter)),
});

async function answer(model: CausalLm, { expected }: GoldenAdapter) {
  const logits = await model.forward(expected.input_ids, model.newCache());
  const ids = await greedyIds(model, expected.input_ids, {
    maxNewTokens: expected.greedy_ids_adapter.length,
    eosIds: [],
  });
  return { logits, ids };
}

const GOLDENS = goldenAdapters();

describe.each(GOLDENS.filter(({ name }) => !(name in REFUSED)))("$name", (golden) => {
  const { expected } = golden;

  it("has peft's logits and ids where the adapter is here", async () => {
    const { checkpoint, adapter } = await open(golden);
    const fitted = await fitAdapter(adapter, checkpoint);
    const ways: LoadOptions[] = [
      { adapter },
      { deltas: new LocalLora(fitted) },
      { deltas: new LocalLora(fitted), lookAhead: false, overlap: false },
    ];
    for (const way of ways) {
      const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { threads: 1, ...way });
      const { logits, ids } = await answer(model, golden);
      await model.dispose();
      expect(worstOf(logits, expected.logits_last_adapter)).toBeLessThan(1);
      expect(ids).toEqual(expected.greedy_ids_adapter);
    }
  });

  it("has peft's ids through a provider", async () => {
    const { checkpoint, adapter } = await open(golden);
    const state = join(folder.path, golden.name);
    await testModel(checkpoint, adapter).writeState(state);
    const { url } = await startProvider(state);
    const joined = await openPrivateModel(nodePlatform(), { base: checkpoint, provider: url, threads: 1 });
    const { logits, ids } = await answer(joined.model, golden);
    await joined.close();
    const want = expected.logits_last_adapter;
    const moved = want.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - expected.logits_last[i])),
      0,
    );
    const error = want.reduce((most, value, i) => Math.max(most, Math.abs(value - logits[i])), 0);
    console.log(
      `${golden.name}: private error ${(error / moved).toExponential(1)} of what the adapter moves`,
    );
    expect(error / moved).toBeLessThan(PRIVATE_ERROR);
    expect(ids).toEqual(expected.greedy_ids_adapter);
  });
});

describe.each(GOLDENS.filter(({ name }) => name in REFUSED))("$name", (golden) => {
  it("is refused, with what it is", async () => {
    const opened = open(golden).then(({ checkpoint, adapter }) => fitAdapter(adapter, checkpoint));
    await expect(opened).rejects.toThrow(REFUSED[golden.name]);
  });
});
