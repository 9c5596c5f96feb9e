/**
 * Every kind of adapter that PEFT's LoRA writes, against transformers and peft, where the adapter is here: inside the
 * graph, and as a source of deltas with look-ahead and without. Private answers: golden-folders.test.ts, where
 * ../shared is present; here those of the kinds in the repository.
 */
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { LoadOptions } from "../../src/model/load-options.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { type GoldenAdapter, goldenAdapters, inRepository, worstOf } from "../support/golden-adapters.ts";
import { cacheFor, greedyIds, temporaryFolder, testModel } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

/** Refused by name. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "olora-raw": /base weights that olora changed/,
};
/** Sums are rounded in another order inside the graph than where deltas are added to it: of the largest logit. */
const ROUNDING = 1e-5;
/** What the private layers may add, of the most that the adapter moves a logit. */
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
  const { input_ids: prompt, greedy_ids_adapter: want } = expected;
  const logits = await model.forward(prompt, cacheFor(model, prompt));
  const ids = await greedyIds(model, prompt, { maxNewTokens: want.length, eosIds: [] });
  return { logits, ids };
}

const ALL = goldenAdapters();

describe.each(ALL.filter(({ name }) => !(name in REFUSED)))("$name", (golden) => {
  const { expected } = golden;

  it("has peft's logits and ids where the adapter is here", async () => {
    const { checkpoint, adapter } = await open(golden);
    const fitted = await fitAdapter(adapter, checkpoint);
    const ways: LoadOptions[] = [
      { adapter },
      { deltas: new LocalLora(fitted) },
      { deltas: new LocalLora(fitted), lookAhead: false },
    ];
    const given: Float32Array[] = [];
    for (const way of ways) {
      const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { threads: 1, ...way });
      const { logits, ids } = await answer(model, golden);
      await model.dispose();
      expect(worstOf(logits, expected.logits_last_adapter)).toBeLessThan(1);
      expect(ids).toEqual(expected.greedy_ids_adapter);
      given.push(logits);
    }
    const [whole, cut] = given;
    const size = cut.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = cut.reduce((most, value, i) => Math.max(most, Math.abs(value - whole[i])), 0);
    expect(apart / size).toBeLessThan(ROUNDING);
  });
});

describe.each(inRepository())("$name of the repository", (golden) => {
  const { expected } = golden;

  it("has peft's ids through a provider", async () => {
    const { checkpoint, adapter } = await open(golden);
    const state = join(folder.path, golden.name);
    await testModel(checkpoint, adapter).writeState(state);
    const { url } = await startProvider(state);
    const joined = await openPrivateModel(nodePlatform(), { base: checkpoint, provider: url, threads: 1 });
    const { logits, ids } = await answer(joined.model, golden);
    await joined.close();
    const { logits_last: base, logits_last_adapter: want } = expected;
    const moved = want.reduce((most, value, i) => Math.max(most, Math.abs(value - base[i])), 0);
    const error = want.reduce((most, value, i) => Math.max(most, Math.abs(value - logits[i])), 0);
    expect(error).toBeLessThan(PRIVATE_ERROR * moved + 2e-4);
    expect(ids).toEqual(expected.greedy_ids_adapter);
  });
});

describe.each(ALL.filter(({ name }) => name in REFUSED))("$name", (golden) => {
  it("is refused, with what it is", async () => {
    const opened = open(golden).then(({ checkpoint, adapter }) => fitAdapter(adapter, checkpoint));
    await expect(opened).rejects.toThrow(REFUSED[golden.name]);
  });
});
