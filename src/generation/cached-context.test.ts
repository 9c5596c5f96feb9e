import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CausalLm } from "../model/causal-lm.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { CachedContext } from "./cached-context.ts";

let model: CausalLm;
beforeAll(async () => {
  model = await CausalLm.load(
    await openCheckpoint(nodeFileTree("test/fixtures/golden/llama-f32")),
    nodeTensorRuntime(),
  );
});
afterAll(() => model.dispose());

async function read(context: CachedContext, promptIds: readonly number[], maxNewTokens: number) {
  const ids: number[] = [];
  const tokens = context.generate(promptIds, { maxNewTokens });
  for (;;) {
    const next = await tokens.next();
    if (next.done) return { ids, cached: next.value.cachedTokens };
    ids.push(next.value.id);
  }
}

describe("CachedContext", () => {
  it("keeps what two prompts have in common, but never the whole of the second", async () => {
    const context = new CachedContext(model);
    const first = await read(context, [1, 2, 3, 4], 3);
    expect(first.cached).toBe(0);
    expect(context.ids).toEqual([1, 2, 3, 4, ...first.ids.slice(0, 2)]);
    expect(await read(context, [1, 2, 3, 4], 3)).toEqual({ ids: first.ids, cached: 3 });
    expect((await read(context, [1, 2, 9], 1)).cached).toBe(2);
    expect(context.ids).toEqual([1, 2, 9]);
    expect((await read(context, [7, 2, 9], 1)).cached).toBe(0);
    expect((await read(context, [7], 0)).cached).toBe(0);
    await expect(read(context, [], 1)).rejects.toThrow(RangeError);
    context.dispose();
  });

  it("gives one answer at a time", async () => {
    const context = new CachedContext(model);
    const running = context.generate([1], { maxNewTokens: 2 });
    await running.next();
    await expect(read(context, [1], 1)).rejects.toThrow(TypeError);
    await running.return({ reason: "aborted", cachedTokens: 0 });
    expect((await read(context, [1, 2], 1)).cached).toBe(1);
  });

  it("reads a prompt in parts, all but its last id, and answers as if it had not", async () => {
    const prompt = Array.from({ length: 50 }, (_, i) => 1 + ((i * 7) % 20));
    const context = new CachedContext(model);
    const lengths: number[] = [];
    for (let part = 0; part < 4; part++) {
      await context.read(prompt, 20);
      lengths.push(context.ids.length);
    }
    expect(lengths).toEqual([20, 40, 49, 49]);
    expect(context.ids).toEqual(prompt.slice(0, 49));
    expect((await read(context, prompt, 5)).ids).toEqual(
      (await read(new CachedContext(model), prompt, 5)).ids,
    );
  });

  it("reads behind what a prompt has in common with it; what is broken off is not held", async () => {
    const context = new CachedContext(model);
    await context.read([1, 2, 3, 9, 9], 100);
    await context.read([1, 2, 3, 4, 5, 6, 7], 2);
    expect(context.ids).toEqual([1, 2, 3, 4, 5]);
    const broken = context.read([1, 2, 3, 4, 5, 6, 7], 2, AbortSignal.abort());
    await expect(broken).rejects.toMatchObject({ code: "aborted" });
    expect(context.ids).toEqual([1, 2, 3, 4, 5]);
  });

  it("a fork holds what is common to both, and neither changes the other", async () => {
    const context = new CachedContext(model);
    const { ids } = await read(context, [1, 2, 3, 4], 3);
    const held = [...context.ids];
    const fork = context.fork([1, 2, 9]);
    expect(fork.ids).toEqual([1, 2]);
    expect(await read(fork, [1, 2, 3, 4], 3)).toEqual({ ids, cached: 2 });
    expect(context.ids).toEqual(held);
    context.dispose();
    expect((await read(fork, [1, 2, 3, 4], 3)).ids).toEqual(ids);
  });
});
