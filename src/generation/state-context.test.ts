/** Conversations with a model whose layers keep a state of all tokens together: answers as if each prompt were the first. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CausalLm } from "../model/causal-lm.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { CachedContext } from "./cached-context.ts";

let model: CausalLm;
beforeAll(async () => {
  const checkpoint = await openCheckpoint(nodeFileTree("test/fixtures/golden-hf/qwen3_5_text"));
  model = await CausalLm.load(checkpoint, nodeTensorRuntime(), { passTokens: 4 });
});
afterAll(() => model.dispose());

async function answer(context: CachedContext, promptIds: readonly number[], maxNewTokens = 5) {
  const ids: number[] = [];
  const tokens = context.generate(promptIds, { maxNewTokens });
  for (;;) {
    const next = await tokens.next();
    if (next.done) return { ids, cached: next.value.cachedTokens };
    ids.push(next.value.id);
  }
}

const first = [5, 9, 3, 7, 11, 4, 8, 2, 6];
const alone = async (promptIds: readonly number[]) => (await answer(new CachedContext(model), promptIds)).ids;

describe("a context with states", () => {
  it("goes on behind all that was read", async () => {
    const context = new CachedContext(model);
    const one = await answer(context, first);
    const second = [...first, ...one.ids, 12, 13, 14];
    const two = await answer(context, second);
    // The last new token was not read.
    expect(two).toEqual({ ids: await alone(second), cached: first.length + one.ids.length - 1 });
  });

  it("asks the second question again, and another one, from where it began", async () => {
    const context = new CachedContext(model);
    const one = await answer(context, first);
    const read = first.length + one.ids.length - 1;
    for (const question of [
      [12, 13, 14],
      [12, 13, 14],
      [12, 13, 9, 1],
    ]) {
      const prompt = [...first, ...one.ids, ...question];
      expect(await answer(context, prompt)).toEqual({ ids: await alone(prompt), cached: read });
    }
  });

  it("begins again where no prompt began, also in a copy", async () => {
    const context = new CachedContext(model);
    await answer(context, first);
    const other = [...first.slice(0, 6), 20, 21];
    const fork = context.fork(other);
    expect(await answer(fork, other)).toEqual({ ids: await alone(other), cached: 0 });
    expect(await answer(context, other)).toEqual({ ids: await alone(other), cached: 0 });
  });

  it("is as it was after a pass of several that was broken off", async () => {
    const context = new CachedContext(model);
    const one = await answer(context, first);
    const second = [...first, ...one.ids, 12, 13, 14, 15, 16, 17, 18, 19];
    const stop = new AbortController();
    const tokens = context.generate(second, { maxNewTokens: 5, signal: stop.signal });
    const started = tokens.next();
    stop.abort();
    await started;
    expect((await answer(context, second)).ids).toEqual(await alone(second));
  });
});
