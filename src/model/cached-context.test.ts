import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lexicon } from "../../test/support/models.ts";
import { CachedContext } from "./cached-context.ts";
import type { CausalLm } from "./causal-lm.ts";

const PROMPT = Array.from({ length: 100 }, (_, i) => 10 + ((i * 37) % 900));
const never = new AbortController().signal;

let model: CausalLm;
beforeAll(async () => {
  model = await (await lexicon()).plaintext();
});
afterAll(async () => {
  await model.dispose();
});

async function answer(context: CachedContext): Promise<number[]> {
  const ids = [];
  for await (const { id } of context.generate(PROMPT, { maxNewTokens: 5 })) ids.push(id);
  return ids;
}

describe("CachedContext", () => {
  it("reads a prompt in parts, all but its last id, and answers as if it had not", async () => {
    const context = new CachedContext(model);
    const lengths: number[] = [];
    for (let part = 0; part < 4; part++) {
      await context.read(PROMPT, 40, never);
      lengths.push(context.ids.length);
    }
    expect(lengths).toEqual([40, 80, 99, 99]);
    expect(context.ids).toEqual(PROMPT.slice(0, 99));
    expect(await answer(context)).toEqual(await answer(new CachedContext(model)));
  });

  it("reads behind what a prompt has in common with it; what is broken off is not held", async () => {
    const context = new CachedContext(model);
    await context.read([...PROMPT.slice(0, 30), 7, 7, 7], 100);
    await context.read(PROMPT, 10);
    expect(context.ids).toEqual(PROMPT.slice(0, 40));
    await expect(context.read(PROMPT, 10, AbortSignal.abort())).rejects.toMatchObject({ code: "aborted" });
    expect(context.ids).toEqual(PROMPT.slice(0, 40));
  });

  it("a fork holds what is common to both, and neither changes the other", async () => {
    const context = new CachedContext(model);
    const expected = await answer(context);
    const held = [...context.ids];
    const fork = context.fork([...PROMPT.slice(0, 50), 7]);
    expect(fork.ids).toEqual(PROMPT.slice(0, 50));
    expect(await answer(fork)).toEqual(expected);
    expect(context.ids).toEqual(held);
    context.dispose();
    expect(await answer(fork)).toEqual(expected);
  });
});
