/**
 * The main claim: greedy ids through a provider process and a real socket are those of the plaintext LoRA and of
 * the published expectations. The error of the logits is printed beside.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
import { startProvider, stopProviders } from "../support/provider-process.ts";

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

interface ErrorSize {
  readonly max: number;
  readonly rms: number;
  /**
   * At the position where it comes closest to deciding a greedy id otherwise: by what part of the distance between
   * the two largest logits the error changes that distance. 1 would be a tie.
   */
  readonly ofGap: number;
}

/** @param first row of the first logits that an id was chosen by */
function errorOf(got: Float32Array, want: Float32Array, vocab: number, first: number): ErrorSize {
  let [max, squares, ofGap] = [0, 0, 0];
  for (let row = 0; row * vocab < got.length; row++) {
    let [one, two] = [-1, -1];
    for (let i = row * vocab; i < (row + 1) * vocab; i++) {
      const error = Math.abs(got[i] - want[i]);
      max = Math.max(max, error);
      squares += error ** 2;
      if (one < 0 || want[i] > want[one]) [one, two] = [i, one];
      else if (two < 0 || want[i] > want[two]) two = i;
    }
    const gap = want[one] - want[two];
    if (row >= first) ofGap = Math.max(ofGap, Math.abs(got[one] - got[two] - gap) / gap);
  }
  return { max, rms: Math.sqrt(squares / got.length), ofGap };
}

/** Logits that follow each position of prompt and answer, private against plaintext: read as in generation. */
async function logitError(
  privately: CausalLm,
  plain: CausalLm,
  prompt: readonly number[],
  answer: readonly number[],
): Promise<ErrorSize> {
  const read = async (model: CausalLm): Promise<Float32Array> => {
    const cache = model.newCache();
    const parts = [await model.forwardAll(prompt, cache)];
    for (const id of answer.slice(0, -1)) parts.push(await model.forward([id], cache));
    const all = new Float32Array((prompt.length + answer.length - 1) * model.config.vocabSize);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  };
  const [got, want] = [await read(privately), await read(plain)];
  return errorOf(got, want, plain.config.vocabSize, prompt.length - 1);
}

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

  it(`gives the expected ids on ${entries.length} of ${ALL.length} entries`, async () => {
    let flips = 0;
    for (const { word, prompt_ids, adapter } of entries) {
      const ids = await greedyIds(model.model, prompt_ids);
      const at = ids.findIndex((id, i) => id !== adapter.ids[i]);
      if (at < 0 && ids.length === adapter.ids.length) continue;
      // Only a near tie may fall the other way; it is said, with the error that turned it.
      const error = await logitError(model.model, plain, prompt_ids, adapter.ids.slice(0, at + 1));
      const logits = await plain.forward([...prompt_ids, ...adapter.ids.slice(0, at)], plain.newCache());
      const gap = logits[adapter.ids[at]] - logits[ids[at]];
      console.log(
        `${word}: id ${at} fell the other way, ${gap.toFixed(4)} apart; logit error max ${error.max.toFixed(4)}, rms ${error.rms.toFixed(5)}`,
      );
      expect(gap, word).toBeLessThan(0.15);
      flips++;
    }
    expect(flips).toBeLessThanOrEqual(1);
    expect(model.provider.traffic.roundTrips).toBeGreaterThan(entries.length);
  });

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

  it("keeps the logits close", async () => {
    let [max, squares, ofGap] = [0, 0, 0];
    for (const { prompt_ids, adapter } of entries) {
      const error = await logitError(model.model, plain, prompt_ids, adapter.ids);
      max = Math.max(max, error.max);
      ofGap = Math.max(ofGap, error.ofGap);
      squares += error.rms ** 2;
    }
    const rms = Math.sqrt(squares / entries.length);
    const gap = Math.min(...entries.map(({ adapter }) => adapter.min_gap));
    console.log(
      `lexicon: logit error max ${max.toFixed(4)}, rms ${rms.toFixed(5)}; least gap ${gap}; closest to a tie ${ofGap.toFixed(3)} of a gap`,
    );
    // Logits of this model spread over about 5; the least gap between the two largest is 0.059.
    expect(rms).toBeLessThan(0.05);
    expect(max).toBeLessThan(1);
    expect(ofGap).toBeLessThan(1);
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
    expect(await greedyIds(model.model, want.input_ids, options)).toEqual(want.greedy_ids_adapter);

    const plainLogits = await plainGolden.forward(want.input_ids, plainGolden.newCache());
    for (const [i, logit] of want.logits_last_adapter.entries()) {
      expect(Math.abs(plainLogits[i] - logit)).toBeLessThanOrEqual(5e-5 + 5e-5 * Math.abs(logit));
    }
    const { input_ids, greedy_ids_adapter, greedy_min_gap_adapter } = want;
    const error = await logitError(model.model, plainGolden, input_ids, greedy_ids_adapter);
    const { max, rms, ofGap } = error;
    console.log(
      `${name}: logit error max ${max.toFixed(5)}, rms ${rms.toFixed(6)}; least gap ${greedy_min_gap_adapter}; closest to a tie ${ofGap.toFixed(3)} of a gap`,
    );
    expect(rms).toBeLessThan(0.01);
    expect(max).toBeLessThan(0.05);
    await model.close();
    await plainGolden.dispose();
  });
});
