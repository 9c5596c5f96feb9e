/** Other positions than Llama's, through a provider process: scores that fall with the distance, contexts that get long. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { goldenHfFolder, goldenHfOf } from "../support/golden-hf.ts";
import { LogitPrediction } from "../support/logit-errors.ts";
import { greedyIds, openTestModel, type TestModel, temporaryFolder } from "../support/models.ts";
import { checkPrivateAnswers } from "../support/private-answers.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const scratch = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  scratch.remove();
});

const folderOf = (name: string) => goldenHfFolder(`tiny/${name}`);
const openTiny = (name: string, contextLength?: number): Promise<TestModel> =>
  openTestModel(folderOf(name), join(folderOf(name), "adapter"), { contextLength });

/** Starts a provider of its adapter. */
async function serve(name: string, test: TestModel): Promise<{ state: string; provider: ProviderProcess }> {
  const state = join(scratch.path, name);
  await test.writeState(state);
  return { state, provider: await startProvider(state) };
}

describe.each(["bloom", "falcon-alibi", "mpt"])("%s, whose scores fall with the distance", (name) => {
  it("answers as transformers does with the adapter", async () => {
    const test = await openTiny(name);
    const { state, provider } = await serve(name, test);
    const { input_ids: prompt, greedy_ids_adapter: answer } = goldenHfOf(`tiny/${name}`);
    const plain = await test.plaintext();
    const options = { maxNewTokens: answer.length, eosIds: [] };
    expect(await greedyIds(plain, prompt, options)).toEqual(answer);
    const joined = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: provider.url });
    const answered = [{ prompt, answer }];
    await checkPrivateAnswers({
      label: name,
      test,
      state,
      plain,
      privately: joined.model,
      answered,
      options,
    });
    expect(joined.provider.traffic.vectors).toBeGreaterThan(0);
    await joined.close();
    await plain.dispose();
  });
});

describe("contexts that get longer than longrope's original one", () => {
  const [CROSSING, , LONG] = (
    JSON.parse(readFileSync(new URL("../vectors/long-context.json", import.meta.url), "utf8")) as {
      cases: readonly { readonly input_ids: readonly number[] }[];
    }
  ).cases;
  const ORIGINAL = 64;
  const contextLength = 128;
  const options = { maxNewTokens: 8, eosIds: [] };
  const warnings: string[] = [];
  let test: TestModel;
  let state: string;
  let plain: CausalLm;
  let joined: PrivateModel;

  beforeAll(async () => {
    test = await openTiny("phi3-partial", contextLength);
    const served = await serve("phi3-partial", test);
    state = served.state;
    plain = await test.plaintext();
    joined = await openPrivateModel(nodePlatform(), {
      base: test.checkpoint,
      provider: served.provider.url,
      contextLength,
      onWarning: (message) => void warnings.push(message),
    });
  });
  afterAll(async () => {
    await joined?.close();
    await plain?.dispose();
  });

  it("are answered as in plaintext where the prompt is long", async () => {
    const prompt = LONG.input_ids;
    const answered = [{ prompt, answer: await greedyIds(plain, prompt, options) }];
    await checkPrivateAnswers({
      label: "long",
      test,
      state,
      plain,
      privately: joined.model,
      answered,
      options,
    });
  });

  it("are asked for again, all their tokens, where an answer crosses that length", async () => {
    const prompt = CROSSING.input_ids;
    const answer = await greedyIds(plain, prompt, options);
    const long = [{ prompt: [...prompt, ...answer.slice(0, 3)], answer: answer.slice(3) }];
    const { maxLimit, gapLimit } = await LogitPrediction.of(test, state, plain, long);
    const asked = joined.provider.traffic.vectors;
    const told = warnings.length;
    const passes = {
      plain: await passesOf(plain, prompt, answer),
      own: await passesOf(joined.model, prompt, answer),
    };
    const groups = joined.bundle.groups.length;
    const read = prompt.length + answer.length - 1;
    expect(joined.provider.traffic.vectors - asked).toBe(groups * (read + ORIGINAL));
    expect(warnings.slice(told)).toEqual([expect.stringMatching(/long one otherwise: 64 are read again$/)]);
    for (const [step, want] of passes.plain.entries()) {
      const got = passes.own[step];
      const errors = want.map((logit, i) => Math.abs(got[i] - logit));
      expect(Math.max(...errors), `step ${step}`).toBeLessThan(maxLimit);
      const [first, second] = want.toSorted((a, b) => b - a);
      if (first - second > gapLimit) expect(likeliest(got), `step ${step}`).toBe(likeliest(want));
    }
  });
});

const likeliest = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

/** The logits that each token of an answer is chosen by. */
async function passesOf(
  model: CausalLm,
  prompt: readonly number[],
  answer: readonly number[],
): Promise<Float32Array[]> {
  const cache = model.newCache();
  const passes = [await model.forward(prompt, cache)];
  for (const id of answer.slice(0, -1)) passes.push(await model.forward([id], cache));
  cache.dispose();
  return passes;
}
