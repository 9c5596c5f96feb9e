import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { END_ID, lexicon } from "../../test/support/models.ts";
import type { CachedContext } from "../generation/cached-context.ts";
import type { CausalLm } from "../model/causal-lm.ts";
import { ContextPool } from "./context-pool.ts";

const OWNER = "key-1";
let model: CausalLm;
beforeAll(async () => {
  model = await (await lexicon()).plaintext();
});
afterAll(async () => {
  await model.dispose();
});

/** Ids that begin alike for the same `head`. */
const prompt = (head: number, length: number, tail: number) =>
  Array.from({ length }, (_, i) => 10 + (i < length / 2 ? head : tail) * 100 + i);

async function read(
  context: CachedContext,
  promptIds: readonly number[],
  maxNewTokens = 1,
): Promise<number[]> {
  const ids = [];
  for await (const { id } of context.generate(promptIds, { maxNewTokens, eosIds: [END_ID] })) ids.push(id);
  return ids;
}

describe("ContextPool", () => {
  it("gives the context that a prompt goes on from, and a copy where it would lose something", async () => {
    const pool = new ContextPool(3);
    const [long, other] = [prompt(1, 80, 1), prompt(1, 80, 2)];
    const first = pool.take(model, long, OWNER);
    expect(first.ids).toEqual([]);
    await read(first, long);
    pool.giveBack(first, OWNER);

    const branch = pool.take(model, other, OWNER);
    expect(branch).not.toBe(first);
    expect(branch.ids).toEqual(long.slice(0, 40));
    expect(first.ids).toEqual(long);
    pool.giveBack(branch, OWNER);

    const next = pool.take(model, [...long, 7, 8], OWNER);
    expect(next).toBe(first);
    pool.dispose();
    pool.giveBack(next, OWNER);
  });

  it("a copy answers as a new context does, and leaves the one it is made from as it is", async () => {
    const pool = new ContextPool(3);
    const [long, other] = [prompt(1, 200, 1), prompt(1, 200, 2)];
    const first = pool.take(model, long, OWNER);
    const answer = await read(first, long, 6);
    pool.giveBack(first, OWNER);
    const branch = pool.take(model, other, OWNER);
    expect(branch.ids).toHaveLength(100);
    expect(await read(branch, other, 6)).toEqual(
      await read(new ContextPool(0).take(model, other, OWNER), other, 6),
    );
    expect(await read(first, long, 6)).toEqual(answer);
    pool.dispose();
  });

  it("keeps as many as it may, none if that is 0", async () => {
    for (const most of [0, 1, 2]) {
      const pool = new ContextPool(most);
      const prompts = [1, 2, 3].map((head) => prompt(head, 40, head));
      for (const ids of prompts) {
        const context = pool.take(model, ids, OWNER);
        await read(context, ids);
        pool.giveBack(context, OWNER);
      }
      const kept = prompts.map((ids) => pool.take(model, [...ids, 1], OWNER).ids.length > 0);
      expect(kept).toEqual([0, 1, 2].map((i) => i >= 3 - most));
      pool.dispose();
    }
  });

  it("never gives what another owner has read, nor a copy of it", async () => {
    const pool = new ContextPool(8);
    const ids = prompt(1, 80, 1);
    const first = pool.take(model, ids, "a");
    await read(first, ids);
    pool.giveBack(first, "a");
    for (const owner of ["b", "", "A", "a "]) {
      for (const asked of [ids, [...ids, 7], ids.slice(0, 40)]) {
        const context = pool.take(model, asked, owner);
        expect(context).not.toBe(first);
        expect(context.ids).toEqual([]);
      }
    }
    expect(pool.take(model, ids, "a")).toBe(first);
    pool.dispose();
    pool.giveBack(first, "a");
  });

  it("keeps an owner's context when another one has many", async () => {
    const pool = new ContextPool(3);
    const fill = async (owner: string, head: number): Promise<void> => {
      const context = pool.take(model, prompt(head, 8, head), owner);
      await read(context, prompt(head, 8, head));
      pool.giveBack(context, owner);
    };
    await fill("a", 1);
    for (let head = 2; head < 8; head++) await fill("b", head);
    expect(pool.take(model, prompt(1, 8, 1), "a").ids).toHaveLength(8);
    expect(pool.take(model, prompt(7, 8, 7), "b").ids).not.toEqual([]);
    expect(pool.take(model, prompt(3, 8, 3), "b").ids).toEqual([]);
    pool.dispose();
  });
});
