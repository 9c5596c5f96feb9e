/**
 * The main claim: greedy ids through a provider process and a real socket are those of the plaintext LoRA and of
 * the published expectations. The error of the logits is printed beside.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MOST_ERROR, MOST_GAP } from "../../src/cli/demo/difference.ts";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import {
  goldenModel,
  goldenNames,
  goldenOf,
  greedyIds,
  lexicon,
  lexiconEntries,
  type TestModel,
  temporaryFolder,
} from "../support/models.ts";
import { checkPrivateAnswers } from "../support/private-answers.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const ALL = lexiconEntries();
let test: TestModel;
let plain: CausalLm;
beforeAll(async () => {
  test = await lexicon();
  plain = await test.plaintext();
});
afterAll(() => plain?.dispose());

it("the plaintext LoRA gives the expected ids", async () => {
  for (const { word, prompt_ids, adapter } of ALL) {
    expect(await greedyIds(plain, prompt_ids), word).toEqual(adapter.ids);
  }
});

describe("the embedded model", () => {
  const entries = ALL;
  let model: PrivateModel;
  beforeAll(async () => {
    const state = join(folder.path, "lexicon");
    await test.writeState(state);
    const { url } = await startProvider(state);
    model = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: url });
  });
  afterAll(() => model?.close());

  it(`gives the expected ids on ${entries.length} entries but for near ties, and logits as close as predicted noise leaves them`, async () => {
    const answered = entries.map(({ prompt_ids, adapter }) => ({ prompt: prompt_ids, answer: adapter.ids }));
    const state = join(folder.path, "lexicon");
    const prediction = await checkPrivateAnswers({
      label: "lexicon",
      test,
      state,
      plain,
      privately: model.model,
      answered,
    });
    expect(model.provider.traffic.roundTrips).toBeGreaterThan(entries.length);
    const { gapLimit, maxLimit } = prediction;
    console.log(
      `lexicon: one error in a million of a gap is ${gapLimit.toFixed(3)}, of all logits ${maxLimit.toFixed(3)}`,
    );
    expect(gapLimit).toBeLessThan(MOST_GAP);
    expect(maxLimit).toBeLessThan(MOST_ERROR);
  }, 600_000);

  it("asks groups that follow each other together", async () => {
    const cache = model.model.newCache();
    const { prompt_ids, adapter } = entries[0];
    await model.model.forward(prompt_ids, cache);
    const before = { runs: model.model.timings.sessionRuns, trips: model.provider.traffic.roundTrips };
    await model.model.forward([adapter.ids[0]], cache);
    const runs = model.model.timings.sessionRuns - before.runs;
    const { length } = model.adapter.groups;
    // Every group once; a segment before, during and after each exchange, of which most have two groups.
    expect(model.provider.traffic.roundTrips - before.trips).toBe(length);
    expect(runs).toBe(length + 3);
  });
});

describe.each(goldenNames())("golden %s", (name) => {
  it("gives the golden ids; the plaintext gives the golden logits, the private ones are close", async () => {
    const want = goldenOf(name);
    const golden = await goldenModel(name);
    const plainGolden = await golden.plaintext();
    const state = join(folder.path, name);
    await golden.writeState(state);
    const { url } = await startProvider(state);
    const model = await openPrivateModel(nodePlatform(), { base: golden.checkpoint, provider: url });
    const options = { maxNewTokens: 16, eosIds: [] };
    expect(await greedyIds(plainGolden, want.input_ids, options)).toEqual(want.greedy_ids_adapter);

    const plainLogits = await plainGolden.forward(want.input_ids, plainGolden.newCache());
    for (const [i, logit] of want.logits_last_adapter.entries()) {
      expect(Math.abs(plainLogits[i] - logit)).toBeLessThanOrEqual(5e-5 + 5e-5 * Math.abs(logit));
    }
    const answered = [{ prompt: want.input_ids, answer: want.greedy_ids_adapter }];
    const privately = model.model;
    await checkPrivateAnswers({
      label: name,
      test: golden,
      state,
      plain: plainGolden,
      privately,
      answered,
      options,
    });
    await model.close();
    await plainGolden.dispose();
  });
});
