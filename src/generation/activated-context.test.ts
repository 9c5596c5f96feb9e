/** Contexts of activated LoRAs: what was read before an invocation is the base model's, and nothing else is shared. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTestModel } from "../../test/support/models.ts";
import { fitAdapter } from "../model/adapter/fit-adapter.ts";
import { LocalLora } from "../model/adapter/local-lora.ts";
import { CausalLm } from "../model/causal-lm.ts";
import type { DeltaUse } from "../model/load-options.ts";
import { ContextPool } from "../openai/context-pool.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { CachedContext } from "./cached-context.ts";
import { generate } from "./generate.ts";

const GOLDEN = "test/fixtures/golden-peft/alora-all7";
const INVOCATION = [11, 12];
const OWNER = "key-1";

async function read(
  context: CachedContext,
  promptIds: readonly number[],
): Promise<{ ids: number[]; cached: number }> {
  const ids: number[] = [];
  const tokens = context.generate(promptIds, { maxNewTokens: 4 });
  for (;;) {
    const next = await tokens.next();
    if (next.done) return { ids, cached: next.value.cachedTokens };
    ids.push(next.value.id);
  }
}

const anew = async (model: CausalLm, promptIds: readonly number[]) =>
  (await read(new CachedContext(model), promptIds)).ids;

describe.each(["asked for", "inside the graph"])("an adapter that is %s", (where) => {
  let [activated, other, plain, base]: CausalLm[] = [];
  beforeAll(async () => {
    const { checkpoint, adapter } = await openTestModel(GOLDEN, join(GOLDEN, "adapter"));
    const fitted = await fitAdapter(adapter, checkpoint);
    const { invocationTokens: _, ...always } = adapter;
    const use = (invocationTokens?: readonly number[]): DeltaUse =>
      where === "asked for"
        ? { deltas: new LocalLora({ ...fitted, invocationTokens }) }
        : { adapter: { ...always, ...(invocationTokens && { invocationTokens }) } };
    const uses = [use(INVOCATION), use([9]), use(), {}];
    [activated, other, plain, base] = await CausalLm.loadShared(checkpoint, nodeTensorRuntime(), uses);
  });
  afterAll(() => Promise.all([activated, other, plain, base].map((model) => model.dispose())));

  it("answers each turn of a conversation as if it were read anew, and reads again what was read otherwise", async () => {
    const context = new CachedContext(activated);
    const first = [20, 21, 22, 23, ...INVOCATION, 24];
    const one = await read(context, first);
    expect(one).toEqual({ ids: await anew(activated, first), cached: 0 });
    // The same invocation: all that was read serves.
    const longer = [...first, ...one.ids, 30];
    const two = await read(context, longer);
    expect(two).toEqual({ ids: await anew(activated, longer), cached: first.length + 3 });
    // A later one: what stood from the first one on was read with the adapter, and is to be read without it.
    const later = [...longer, ...two.ids, ...INVOCATION];
    const three = await read(context, later);
    expect(three).toEqual({ ids: await anew(activated, later), cached: 4 });
    // None at all: the base model's, to the end.
    const none = [...later.slice(0, 4), 31];
    const four = await read(context, none);
    expect(four).toEqual({ ids: await anew(base, none), cached: 4 });
    // And an earlier one than before.
    expect(await read(context, first)).toEqual({ ids: one.ids, cached: 4 });
  });

  it("shares with the base model, and with other activated LoRAs, what all of them read without an adapter", async () => {
    const pool = new ContextPool(8);
    const ask = async (model: CausalLm, promptIds: readonly number[], owner = OWNER) => {
      const context = pool.take(model, promptIds, owner);
      const answer = await read(context, promptIds);
      pool.giveBack(context, owner);
      expect(answer.ids).toEqual(await anew(model, promptIds));
      return answer.cached;
    };
    const document = Array.from({ length: 30 }, (_, i) => 20 + (i % 50));
    expect(await ask(base, [...document, 7])).toBe(0);
    expect(await ask(activated, [...document, ...INVOCATION])).toBe(30);
    expect(await ask(other, [...document, ...INVOCATION, 9])).toBe(30);
    expect(await ask(other, [...document, ...INVOCATION, 9, 10])).toBe(33);
    // A LoRA that acts everywhere shares with itself alone.
    expect(await ask(plain, [...document, 8])).toBe(0);
    expect(await ask(plain, [...document, 8, 8])).toBe(31);
    expect(await ask(base, [...document, 8])).toBe(30);
    expect(await ask(base, [...document, 8], "key-2")).toBe(0);
    pool.dispose();
  });

  it("is not invoked by what is generated, also where an answer is gone on with", async () => {
    const prompt = [20, 21, ...INVOCATION, 22];
    const ids: number[] = [];
    for await (const { id } of generate(activated, prompt, { maxNewTokens: 12 })) ids.push(id);
    const so = [...prompt, ...ids.slice(0, 3), ...INVOCATION];
    const rest = async (adaptedFrom?: number) => {
      const more: number[] = [];
      const options = { maxNewTokens: 6, ...(adaptedFrom === undefined ? {} : { adaptedFrom }) };
      for await (const { id } of generate(activated, so, options)) more.push(id);
      return more;
    };
    const cache = activated.newCache();
    cache.adaptFrom(2);
    const logits = await activated.forward(so, cache);
    expect((await rest(2))[0]).toBe(logits.indexOf(Math.max(...logits)));
    expect(activated.adaptedFrom(so)).toBe(8);
    expect(await rest()).toEqual(await rest(8));
  });

  it("keeps caches apart that were read otherwise", async () => {
    const cache = activated.newCache();
    cache.adaptFrom(2);
    await activated.forward([1, 2, 3], cache);
    expect(() => cache.adaptFrom(1)).toThrow(RangeError);
    expect(() => cache.adaptFrom(Number.POSITIVE_INFINITY)).toThrow(RangeError);
    await expect(plain.forward([4], cache)).rejects.toThrow(TypeError);
    cache.truncate(1);
    cache.adaptFrom(1);
    cache.truncate(0);
    cache.adaptFrom(0);
  });
});
