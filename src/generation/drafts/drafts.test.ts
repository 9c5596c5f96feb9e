/**
 * An answer with drafts is the answer without, whoever drafts, however many, and however often they are right. The adapter
 * is applied in this process: what then differs is only how ONNX Runtime rounds sums of a pass over several rows, some 1e-6
 * of a logit, and no choice of these answers is that close (a change of a choice would fail these tests on any machine
 * alike, as answers and draws follow from seeds).
 */
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FAMILIES } from "../../../tools/checkpoint/shapes.ts";
import {
  goldenModel,
  goldenNames,
  goldenOf,
  openTestModel,
  type TestModel,
  temporaryFolder,
} from "../../../test/support/models.ts";
import { FarLora } from "../../../test/support/far-lora.ts";
import { goldenHfFolder, goldenHfNames, goldenHfOf } from "../../../test/support/golden-hf.ts";
import { seededModel } from "../../../test/support/seeded-models.ts";
import { TacetError } from "../../base/errors.ts";
import type { CausalLm } from "../../model/causal-lm.ts";
import { MOST_PARTS } from "../../model/run/plan-parts.ts";
import type { DraftCounts, Drafting } from "./drafting.ts";
import { type GeneratedToken, type GenerateOptions, generate, generateWith } from "../generate.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const SEEDS = Array.from({ length: 10 }, (_, seed) => seed);
const SAMPLING = {
  temperature: 0.9,
  topP: 0.95,
  repetitionPenalty: 1.1,
  frequencyPenalty: 0.3,
  presencePenalty: 0.2,
};
const SAMPLINGS = [{}, ...SEEDS.map((seed) => ({ ...SAMPLING, seed }))];

interface Result {
  readonly tokens: GeneratedToken[];
  readonly reason: string;
  /** Tokens in the cache afterwards. */
  readonly cached: number;
}

async function answer(
  model: CausalLm,
  promptIds: readonly number[],
  options: Partial<GenerateOptions>,
  drafting?: Drafting,
): Promise<Result> {
  const cache = model.newCache();
  const all = { maxNewTokens: 24, logprobs: 3, ...options, cache };
  const tokens: GeneratedToken[] = [];
  const stream =
    drafting === undefined
      ? generate(model, promptIds, all)
      : generateWith(model, promptIds, all, () => drafting);
  for (;;) {
    const next = await stream.next();
    if (next.done) {
      const { length } = cache;
      cache.dispose();
      return { tokens, reason: next.value.reason, cached: length };
    }
    tokens.push(next.value);
  }
}

const idsOf = ({ tokens }: Result) => tokens.map(({ id }) => id);

function expectSame(got: Result, want: Result): void {
  expect(idsOf(got)).toEqual(idsOf(want));
  expect(got.tokens.map(({ index }) => index)).toEqual(want.tokens.map((_, i) => i));
  expect({ ...got, tokens: [] }).toEqual({ ...want, tokens: [] });
  for (const [i, { logprobs }] of got.tokens.entries()) {
    const expected = want.tokens[i].logprobs!;
    expect(Math.abs(logprobs!.logprob - expected.logprob)).toBeLessThan(1e-3);
    expect(logprobs!.top.map(({ id }) => id)).toEqual(expected.top.map(({ id }) => id));
  }
}

/**
 * One draft a pass and five in turns, or both with each seed; five also where the adapter seems far away, so that a pass is
 * read in parts.
 */
async function expectNoDifference(
  test: TestModel,
  promptIds: readonly number[],
  counts: "in turns" | "both" = "both",
): Promise<DraftCounts & { readonly canDraft: boolean }> {
  const draftCounts = { drafted: 0, accepted: 0 };
  const model = await test.inOneGraph();
  const source = await FarLora.of(test.checkpoint, test.adapter);
  source.line = { roundTripMs: 3000, vectorMs: 200 };
  const far = await test.withDeltas(source);
  const farCounts = { drafted: 0, accepted: 0 };
  let [answers, tokens] = [0, 0];
  for (const [i, sampling] of SAMPLINGS.entries()) {
    const want = await answer(model, promptIds, { sampling, drafts: 0 });
    for (const drafts of counts === "both" ? [1, 5] : [[5, 1][i % 2]]) {
      expectSame(await answer(model, promptIds, { sampling, drafts, draftCounts }), want);
    }
    if (counts === "in turns" && i % 2 === 0) continue;
    expectSame(await answer(far, promptIds, { sampling, drafts: 5, draftCounts: farCounts }), want);
    answers++;
    tokens += want.tokens.length;
  }
  const { canDraft } = model;
  // A pass gives one token more than were right of its drafts; prompts have their parts too.
  const passes = tokens - farCounts.accepted;
  if (canDraft) expect(far.timings.forwards - MOST_PARTS * answers).toBeGreaterThan(1.5 * passes);
  await Promise.all([model.dispose(), far.dispose()]);
  return { ...draftCounts, canDraft };
}

describe("text with drafts is text without, greedy and with ten seeds", () => {
  it.each(goldenNames())("golden %s", async (name) => {
    const counts = await expectNoDifference(await goldenModel(name), goldenOf(name).input_ids);
    console.log(`${name}: ${counts.accepted} of ${counts.drafted} drafts accepted`);
    expect(counts.drafted).toBeGreaterThan(100);
  });

  // Those that are beside the repository with SLOW=1: minutes.
  it.each(goldenHfNames().filter((name) => process.env.SLOW || !name.startsWith("shared/")))(
    "golden %s",
    async (name) => {
      const base = goldenHfFolder(name);
      const test = await openTestModel(base, join(base, "adapter"));
      const counts = await expectNoDifference(test, goldenHfOf(name).input_ids, "in turns");
      console.log(`${name}: ${counts.accepted} of ${counts.drafted} drafts accepted`);
      // A layer's state of all tokens cannot be taken back: there nothing is drafted.
      if (counts.canDraft) expect(counts.drafted).toBeGreaterThan(50);
      else expect(counts.drafted).toBe(0);
    },
  );

  it.each(FAMILIES)("%s, every module adapted", async (family) => {
    const made = seededModel(folder.path, family);
    const test = await openTestModel(made.base, made.adapter("all"));
    const counts = await expectNoDifference(test, [1, 17, 203, 44, 5, 99, 120, 7]);
    console.log(`${family}: ${counts.accepted} of ${counts.drafted} drafts accepted`);
    expect(counts.drafted).toBeGreaterThan(100);
  });
});

describe("whatever is drafted", () => {
  let model: CausalLm;
  let promptIds: readonly number[];
  const wanted: Result[] = [];
  beforeAll(async () => {
    model = await (await goldenModel("llama-f32")).plaintext();
    promptIds = goldenOf("llama-f32").input_ids;
    for (const sampling of SAMPLINGS) wanted.push(await answer(model, promptIds, { sampling }));
  });
  afterAll(() => model.dispose());

  /** Drafts by a pattern: for each pass, which of its drafts are right. */
  function scripted(right: readonly number[], passes: readonly (readonly boolean[])[]): Drafting {
    let pass = 0;
    return {
      async draft({ cache }, most) {
        const at = cache.length + 1 - promptIds.length;
        const pattern = passes[pass++ % passes.length].slice(0, most);
        return pattern.map((isRight, i) => {
          const id = right[at + i] ?? 0;
          return isRight ? id : (id + 1) % model.config.vocabSize;
        });
      },
      passed() {},
      refused() {},
      end() {},
    };
  }

  it("the answer is the same, with its end where it was, and the cache too", async () => {
    const passes = fc.array(fc.array(fc.boolean(), { maxLength: 9 }), { minLength: 1, maxLength: 6 });
    const kinds = fc.oneof(
      passes,
      fc.constant([[true, true, true, true]]),
      fc.constant([[false, false]]),
      fc.constant([[true, false, true]]),
    );
    await fc.assert(
      fc.asyncProperty(
        kinds,
        fc.nat(SAMPLINGS.length - 1),
        fc.integer({ min: 1, max: 24 }),
        fc.nat(30),
        async (patterns, which, maxNewTokens, endsAt) => {
          const all = wanted[which];
          const ids = idsOf(all);
          const eosIds = endsAt < ids.length ? [ids[endsAt]] : [];
          const sampling = SAMPLINGS[which];
          const want = await answer(model, promptIds, { sampling, maxNewTokens, eosIds });
          const got = await answer(
            model,
            promptIds,
            { sampling, maxNewTokens, eosIds },
            scripted(ids, patterns),
          );
          expectSame(got, want);
        },
      ),
      { numRuns: process.env.SLOW ? 1000 : 60 },
    );
  });

  it("an answer that is left inside a pass leaves a cache without what was not given out", async () => {
    const right = idsOf(wanted[0]);
    for (const taken of [1, 2, 3, 6]) {
      const cache = model.newCache();
      const options = { maxNewTokens: 24, cache };
      let count = 0;
      const stream = generateWith(model, promptIds, options, () => scripted(right, [[true, true, true]]));
      for await (const { id } of stream) {
        expect(id).toBe(right[count]);
        if (++count === taken) break;
      }
      expect(cache.length).toBe(promptIds.length + taken - 1);
      // It can be gone on with.
      const rest: number[] = [];
      for await (const { id } of generate(model, [right[taken - 1]], { maxNewTokens: 4, cache }))
        rest.push(id);
      expect(rest).toEqual(right.slice(taken, taken + 4));
      cache.dispose();
    }
  });

  it("a signal that fires inside a pass ends the answer at that token", async () => {
    const right = idsOf(wanted[0]);
    const controller = new AbortController();
    const cache = model.newCache();
    const options = { maxNewTokens: 24, cache, signal: controller.signal };
    const stream = generateWith(model, promptIds, options, () => scripted(right, [[true, true, true]]));
    const ids: number[] = [];
    for (;;) {
      const next = await stream.next();
      if (next.done) {
        expect(next.value.reason).toBe("aborted");
        break;
      }
      ids.push(next.value.id);
      if (ids.length === 3) controller.abort();
    }
    expect(ids).toEqual(right.slice(0, 3));
    expect(cache.length).toBe(promptIds.length + 2);
  });

  it("a pass that is refused with drafts is asked without, and what else fails does", async () => {
    const right = idsOf(wanted[0]);
    const { forwardAll } = model;
    let code: "budget_exhausted" | "connection_lost" = "budget_exhausted";
    let refused = 0;
    model.forwardAll = async () => {
      throw new TacetError(code, "said by the test");
    };
    try {
      const drafting = { ...scripted(right, [[true, true]]), refused: () => void refused++ };
      expect(idsOf(await answer(model, promptIds, { maxNewTokens: 5 }, drafting))).toEqual(right.slice(0, 5));
      expect(refused).toBe(4 - 1); // the last token has no room for drafts
      code = "connection_lost";
      const failing = answer(model, promptIds, { maxNewTokens: 5 }, scripted(right, [[true, true]]));
      await expect(failing).rejects.toMatchObject({ code });
    } finally {
      model.forwardAll = forwardAll;
    }
  });

  it("drafts and budgets out of range are refused", async () => {
    for (const bad of [
      { drafts: -1 },
      { drafts: 32 },
      { drafts: 1.5 },
      { draftBudget: -1 },
      { draftBudget: Number.NaN },
    ]) {
      await expect(answer(model, promptIds, bad)).rejects.toMatchObject({ code: "bad_argument" });
    }
  });

  it("wrong drafts cost no more than was allowed", async () => {
    for (const draftBudget of [0, 0.5, 1, 3]) {
      const draftCounts = { drafted: 0, accepted: 0 };
      const sampling = SAMPLINGS[3];
      const got = await answer(model, promptIds, { sampling, drafts: 8, draftBudget, draftCounts });
      expect(idsOf(got)).toEqual(idsOf(wanted[3]));
      expect(draftCounts.drafted - draftCounts.accepted).toBeLessThanOrEqual(draftBudget * got.tokens.length);
      if (draftBudget > 1) expect(draftCounts.drafted).toBeGreaterThan(draftCounts.accepted);
    }
  });
});
