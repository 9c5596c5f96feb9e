/** Contexts that get longer than longrope's original one: all tokens are turned otherwise then, as transformers does it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { goldenHfFolder } from "../../test/support/golden-hf.ts";
import { nodeFileTree, nodePlatform } from "../platform/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm } from "./causal-lm.ts";
import type { LoadOptions } from "./load-options.ts";
import { describeDecoder } from "./architectures/registry.ts";

interface Case {
  readonly name: string;
  readonly input_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly logits_first: readonly number[];
  readonly logits_last: readonly number[];
}

/** Written by tools/make-long-context.py. */
const { original_context: ORIGINAL, cases } = JSON.parse(
  readFileSync(new URL("../../test/vectors/long-context.json", import.meta.url), "utf8"),
) as { original_context: number; cases: readonly Case[] };
const FOLDER = goldenHfFolder("tiny/phi3-partial");
const [CROSSING, , LONG] = cases;

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

async function load(options: LoadOptions = {}): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(FOLDER));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { contextLength: 128, ...options });
  models.push(model);
  return model;
}

const likeliest = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

function expectClose(got: Float32Array, want: readonly number[]): void {
  const share = want.map((value, i) => Math.abs(got[i] - value) / (2e-4 + 1e-4 * Math.abs(value)));
  expect(Math.max(...share)).toBeLessThan(1);
}

describe.each(cases)("a context that $name", ({ input_ids, greedy_ids, logits_first, logits_last }) => {
  it.each([{}, { passTokens: 16 }])("has transformers' ids and logits (%o)", async (options) => {
    const model = await load(options);
    const cache = model.newCache();
    let logits = await model.forward(input_ids, cache);
    expectClose(logits, logits_first);
    const ids: number[] = [];
    for (const id of greedy_ids) {
      ids.push(likeliest(logits));
      if (ids.length < greedy_ids.length) logits = await model.forward([id], cache);
    }
    expect(ids).toEqual(greedy_ids);
    expectClose(logits, logits_last);
    expect(cache.length).toBe(input_ids.length + greedy_ids.length - 1);
  });
});

it("has the logits of all ids of a pass that crosses, as a pass over the whole context has them", async () => {
  const model = await load();
  const { vocabSize } = model.config;
  const whole = await model.forwardAll(LONG.input_ids, model.newCache());
  const cache = model.newCache();
  await model.forward(LONG.input_ids.slice(0, 40), cache);
  const rest = await model.forwardAll(LONG.input_ids.slice(40), cache);
  expectClose(rest, [...whole.subarray(40 * vocabSize)]);
});

it("goes back to a short context as if it had never been a long one, and says what is read again", async () => {
  const notices: string[] = [];
  const model = await load({ onWarning: (message) => void notices.push(message) });
  const cache = model.newCache();
  await model.forward(LONG.input_ids, cache);
  expect(notices).toEqual([]);
  cache.truncate(50);
  const again = await model.forward([7], cache);
  expectClose(again, [...(await model.forward([...LONG.input_ids.slice(0, 50), 7], model.newCache()))]);
  expect(notices).toEqual([
    `the context is no more than ${ORIGINAL} tokens now, and the model turns all tokens of a short one otherwise: 50 are read again`,
  ]);
  const fork = cache.fork(30);
  await model.forward(LONG.input_ids.slice(30), fork);
  expect(notices[1]).toMatch(
    /^the context is more than 64 tokens now.*of a long one otherwise: 30 are read again$/,
  );
  // The one it was made from is as it was.
  expect([fork.isLong, cache.isLong, cache.length]).toEqual([true, false, 51]);
});

it("a pass that fails leaves the cache as it was", async () => {
  const model = await load();
  const cache = model.newCache();
  const { input_ids, greedy_ids } = CROSSING;
  await model.forward([...input_ids, ...greedy_ids.slice(0, 2)], cache);
  const stopped = new AbortController();
  stopped.abort();
  const next = greedy_ids.slice(2, 3);
  await expect(model.forward(next, cache, { signal: stopped.signal })).rejects.toMatchObject({
    code: "aborted",
  });
  expect([cache.length, cache.isLong]).toEqual([ORIGINAL, false]);
  expect(likeliest(await model.forward(next, cache))).toBe(greedy_ids[3]);
});

it("is not guessed across, nor drafted across by the base model", async () => {
  const checkpoint = await openCheckpoint(nodeFileTree(FOLDER));
  const adapter = await fitAdapter(await openLoraAdapter(nodeFileTree(join(FOLDER, "adapter"))), checkpoint);
  const model = await load({ deltas: new LocalLora(adapter) });
  expect([60, 64, 65, 100].map((context) => model.roomBehind(context))).toEqual([4, 0, 63, 28]);
  const cache = model.newCache();
  await model.forward(CROSSING.input_ids.slice(0, 59), cache);
  const asked = { most: 8, choose: likeliest };
  expect((await model.draft(cache, { ids: [7], ...asked })).length).toBe(5);
  expect(await model.draft(cache, { ids: [7, 8, 9, 10, 11, 12], ...asked })).toEqual([]);
  expect(cache.length).toBe(59);
});

it("has transformers' ids with an adapter that is asked for, cut into segments", async () => {
  const checkpoint = await openCheckpoint(nodeFileTree(FOLDER));
  const adapter = await openLoraAdapter(nodeFileTree(join(FOLDER, "adapter")));
  const [inside, asked] = [
    await load({ adapter }),
    await load({ deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) }),
  ];
  const rows = [];
  for (const model of [inside, asked]) {
    const cache = model.newCache();
    await model.forward(LONG.input_ids.slice(0, 60), cache);
    rows.push(await model.forward(LONG.input_ids.slice(60), cache));
  }
  expectClose(rows[1], [...rows[0]]);
});

it("is as long as the original one unless more is asked for", async () => {
  const model = await load({ contextLength: undefined });
  expect(model.contextLength).toBe(ORIGINAL);
  expect(describeDecoder(await openCheckpoint(nodeFileTree(FOLDER)))).toMatchObject({ longFrom: ORIGINAL });
});
