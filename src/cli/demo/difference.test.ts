import { afterAll, beforeAll, expect, it } from "vitest";
import { lexicon, lexiconEntries } from "../../../test/support/models.ts";
import type { CausalLm } from "../../model/causal-lm.ts";
import { CausalLm as Model } from "../../model/causal-lm.ts";
import { nodePlatform } from "../../platform/node.ts";
import { differenceOf, isNearTie } from "./difference.ts";

let [plain, base]: (CausalLm | undefined)[] = [];
beforeAll(async () => {
  const test = await lexicon();
  plain = await test.plaintext();
  base = await Model.load(test.checkpoint, nodePlatform().tensors);
});
afterAll(async () => {
  await plain?.dispose();
  await base?.dispose();
});

const { signal } = new AbortController();
const entryOf = (word: string) => lexiconEntries().find((entry) => entry.word === word)!;

it("two likely tokens that changed places are a near tie", async () => {
  const { prompt_ids, adapter } = entryOf("doctor");
  const step = 19; // where the two largest logits are adapter.min_gap apart
  const cache = plain!.newCache();
  const logits = await plain!.forward([...prompt_ids, ...adapter.ids.slice(0, step)], cache);
  const runnerUp = [...logits.keys()].sort((a, b) => logits[b] - logits[a])[1];
  const ids = { plaintext: adapter.ids, private: [...adapter.ids.slice(0, step), runnerUp, 9] };
  const difference = await differenceOf(plain!, plain!, prompt_ids, ids, signal);
  expect(difference.gap).toBeCloseTo(adapter.min_gap, 3);
  expect(isNearTie(difference)).toBe(true);
});

it("another token than the two likeliest is none, nor is a model that is off, nor an answer that ends early", async () => {
  const { prompt_ids, adapter } = entryOf("tender");
  const plaintext = adapter.ids;
  const of = (privately: CausalLm, ids: readonly number[]) =>
    differenceOf(privately, plain!, prompt_ids, { plaintext, private: ids }, signal);
  const other = [plaintext[0] === 5 ? 6 : 5, ...plaintext.slice(1)];
  expect(isNearTie(await of(plain!, other))).toBe(false);
  expect(isNearTie(await of(plain!, plaintext.slice(0, 2)))).toBe(false);
  const off = await of(base!, other);
  expect(off.error.max).toBeGreaterThan(1);
  expect(isNearTie({ ...off, gap: 0 })).toBe(false);
});
