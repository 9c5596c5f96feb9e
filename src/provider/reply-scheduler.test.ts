/** Turns between owners, parts of a long query, and pools that fail. */
import { describe, expect, it } from "vitest";
import { type ComputedReply, type ReplyPart, type ReplyPool, ReplyScheduler } from "./reply-scheduler.ts";
import type { ServedAdapter } from "./served-adapter.ts";

/** A layer whose reply byte is its query byte; 2^24 multiply-adds a vector, so four of them are a part. */
const layer = {
  queryBytes: 1,
  replyBytes: 1,
  checkQuery: () => {},
  vectorsWithin: (products: number) => Math.max(1, Math.floor(products / 2 ** 24)),
  secretBytes: 1,
  deriveSecret: () => ({}),
  releaseSecret: () => {},
  answerQuery: (_secret: unknown, query: Uint8Array) => query.slice(),
};
const key = { name: "key", group: 0, seed: () => new Uint8Array(32) };
const adapter = { name: "a", layers: [layer] } as unknown as ServedAdapter;
const task = (owner: object, bytes: number[], party: object | string = owner) => ({
  owner,
  party,
  adapter,
  group: 0,
  vectors: bytes.length,
  query: Uint8Array.from(bytes),
  key,
});

/** A pool whose parts the test ends. */
function manualPool(width: number) {
  const open: { part: ReplyPart; end(): void; fail(): void }[] = [];
  const pool: ReplyPool = {
    width,
    leastProducts: 0,
    compute: (part) =>
      new Promise<ComputedReply>((resolve, reject) => {
        open.push({
          part,
          end: () => resolve({ words: part.query.slice(), ms: 1 }),
          fail: () => reject(new Error("died")),
        });
      }),
    makeKeyPart: ({ group }) =>
      new Promise((resolve, reject) => {
        const none = Uint8Array.of();
        const made = { weights: none, hint: none, digest: none, signature: none, ms: 1 };
        open.push({
          part: { query: Uint8Array.of(100 + group) } as never,
          end: () => resolve(made),
          fail: () => reject(new Error("died")),
        });
      }),
    forget: () => {},
  };
  const end = async (how: "end" | "fail" = "end") => {
    open.shift()?.[how]();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  return { open, pool, end, queries: () => open.map(({ part }) => [...part.query]) };
}

describe("ReplyScheduler", () => {
  it("answers a short query at once and a long one in parts, whole and in order", async () => {
    const scheduler = new ReplyScheduler();
    expect(scheduler.answer(task({}, [1, 2, 3, 4]))).toMatchObject({ words: Uint8Array.of(1, 2, 3, 4) });
    const long = Array.from({ length: 11 }, (_, i) => i);
    const later = scheduler.answer(task({}, long));
    expect(later).toBeInstanceOf(Promise);
    expect((await later).words).toEqual(Uint8Array.from(long));
  });

  it("gives owners turns: who asked much does not keep away who asked later", async () => {
    const { pool, end, queries } = manualPool(1);
    const scheduler = new ReplyScheduler({ pool });
    const [much, little] = [{}, {}];
    const first = scheduler.answer(task(much, [1, 1, 1, 1, 1, 1, 1, 1, 1]));
    void scheduler.answer(task(much, [2, 2, 2, 2]));
    const late = scheduler.answer(task(little, [9, 9]));
    expect(queries()).toEqual([[1, 1, 1, 1]]);
    await end();
    // `much` was put back behind nobody before `little` came; after its second part it is the other's turn.
    await end();
    expect(queries()).toEqual([[9, 9]]);
    await end();
    expect((await late).words).toEqual(Uint8Array.of(9, 9));
    expect(queries()).toEqual([[1]]);
    await end();
    expect((await first).ms).toBe(3);
  });

  it("gives keys turns, however many connections one has, and within a key its connections", async () => {
    const { pool, end, queries } = manualPool(1);
    const scheduler = new ReplyScheduler({ pool });
    for (let i = 1; i <= 20; i++) void scheduler.answer(task({}, [i, i, i, i, i], "busy"));
    void scheduler.answer(task({}, [91, 91, 91, 91, 91], "calm"));
    void scheduler.answer(task({}, [92, 92, 92, 92, 92]));
    const order: number[] = [];
    for (let i = 0; i < 8; i++) {
      order.push(queries()[0][0]);
      await end();
    }
    // The first was begun before anybody else was there.
    expect(order).toEqual([1, 1, 91, 92, 2, 91, 92, 3]);
  });

  it("fills a wide pool, with parts of one query too", async () => {
    const { pool, end, queries } = manualPool(2);
    const answer = new ReplyScheduler({ pool }).answer(task({}, [1, 2, 3, 4, 5, 6]));
    expect(queries()).toEqual([
      [1, 2, 3, 4],
      [5, 6],
    ]);
    await end();
    await end();
    expect((await answer).words).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
  });

  it("fails a query whose part fails and goes on with others; forgets who has left", async () => {
    const { pool, end, queries } = manualPool(1);
    const scheduler = new ReplyScheduler({ pool });
    const [a, b] = [{}, {}];
    const failing = scheduler.answer(task(a, [1, 1, 1, 1, 1]));
    void scheduler.answer(task(b, [2, 2, 2, 2, 2]));
    const caught = Promise.resolve(failing).catch((error: Error) => error.message);
    await end("fail");
    expect(await caught).toBe("died");
    expect(queries()).toEqual([[2, 2, 2, 2]]);
    scheduler.drop(b);
    await end();
    expect(queries()).toEqual([]);
  });

  it("makes groups of keys in turns with long queries, and fails one alone", async () => {
    const { pool, end, queries } = manualPool(1);
    const scheduler = new ReplyScheduler({ pool });
    const [asks, fetches] = [{}, {}];
    void scheduler.answer(task(asks, [1, 1, 1, 1, 1, 1, 1, 1, 1]));
    const part = { adapter, keyId: new Uint8Array(16), key, before: [], owner: fetches, party: fetches };
    const first = scheduler.makeKeyPart({ ...part, group: 0 });
    const failing = scheduler.makeKeyPart({ ...part, group: 1 }).catch((error: Error) => error.message);
    const order: number[] = [];
    for (const how of ["end", "end", "end", "end", "fail"] as const) {
      order.push(queries()[0][0]);
      await end(how);
    }
    expect(order).toEqual([1, 1, 100, 1, 101]);
    expect(await first).toMatchObject({ ms: 1 });
    expect(await failing).toBe("died");
  });
});
