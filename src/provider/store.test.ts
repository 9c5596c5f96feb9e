/** One suite for both stores: what a ProviderStore promises. That no budget is passed: budgets.test.ts. */
import { mkdtempSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { NO_REDIS, startRedis } from "../../test/support/redis-server.ts";
import {
  ask,
  DAY,
  embeddedSubject,
  newRecord,
  NOW,
  redisForTests,
  setBudgets,
} from "../../test/support/store-subjects.ts";
import type { RedisLink } from "../base/platform.ts";
import { connectRedis } from "../platform/node.ts";
import { windowStart } from "./asked-counts.ts";
import { RedisStore } from "./redis-store.ts";
import type { Grant, ProviderStore, Reservation } from "./store.ts";

const redis = redisForTests();

async function openRedis(prefix: string, wrap = (link: RedisLink) => link): Promise<RedisStore> {
  const store = await RedisStore.open(wrap(await connectRedis({ url: redis.url })), { prefix });
  redis.open.push(store);
  await store.watchKeys();
  return store;
}

/** What a store says, in short: whether it was granted or was there before, and what is left. */
async function told(store: ProviderStore, request: Reservation) {
  const { granted, replayed, remaining, ...rest } = await store.reserve(request);
  return { granted, replayed, left: remaining?.left, ...rest };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const SUBJECTS = [
  { name: "EmbeddedStore", skip: false, make: () => embeddedSubject() },
  {
    name: `RedisStore${NO_REDIS || ""}`,
    skip: NO_REDIS,
    make: redis.make,
  },
];
describe.each(SUBJECTS.map((subject) => [subject.name, subject] as const))("%s", (_, { skip, make }) => {
  const test = it.skipIf(skip !== false);

  /** A store whose account "ada", and "bob", have these budgets. */
  async function withBudgets(...budgets: Grant[]) {
    const subject = await make();
    const keys = await setBudgets(subject, "ada", [], ...budgets);
    await setBudgets(subject, "bob", [], ...budgets);
    const left = async (scopes: string[], nowMs = NOW) =>
      (await subject.stores[0].remaining("ada", "law", scopes, nowMs))?.left;
    return { ...subject, store: subject.stores[0], keys, left };
  }
  const TEN = { vectors: 10, windowSeconds: 0 };

  test("grants to the last vector and not one more, all of a request or none, by account and scope", async () => {
    const { store, left } = await withBudgets(TEN);
    expect(await told(store, ask({ vectors: 8 }))).toEqual({ granted: true, replayed: false, left: 2 });
    expect(await told(store, ask({ vectors: 3 }))).toEqual({ granted: false, replayed: false, left: 2 });
    expect(await told(store, ask({ vectors: 2 }))).toEqual({ granted: true, replayed: false, left: 0 });
    expect(await told(store, ask())).toMatchObject({ granted: false, left: 0 });
    expect(await told(store, ask({ scope: "other" }))).toMatchObject({ granted: true, left: 9 });
    expect(await told(store, ask({ account: "bob" }))).toMatchObject({ granted: true, left: 9 });
    expect(await left([ask().scope, "other", "new"])).toBe(0);
    expect(await left(["other", "new"])).toBe(9);
    expect(await left(["new"])).toBe(10);
  });

  test("does not charge a request twice, and answers it again when the budget is spent", async () => {
    const { store } = await withBudgets(TEN);
    const request = ask({ vectors: 10 });
    expect(await told(store, request)).toMatchObject({ granted: true, left: 0 });
    expect(await told(store, request)).toEqual({ granted: true, replayed: true, left: 0 });
    expect(await told(store, { ...request, scope: "other" })).toMatchObject({ replayed: false });
    expect(await told(store, { ...request, account: "bob" })).toMatchObject({ replayed: false });
  });

  test("is exact when many ask at once", async () => {
    const { stores } = await withBudgets({ vectors: 100, windowSeconds: 0 });
    const one = (_: unknown, i: number) => told(stores[i % stores.length], ask());
    const all = await Promise.all(Array.from({ length: 300 }, one));
    expect(all.filter(({ granted }) => granted)).toHaveLength(100);
    expect(all.every(({ left }) => left !== undefined && left >= 0)).toBe(true);
  });

  test("renews a window's budget when the next one begins, not when a clock is behind", async () => {
    const { store, left } = await withBudgets({ vectors: 5, windowSeconds: DAY });
    const midnight = windowStart(NOW, DAY) + 1000 * DAY;
    const at = async (nowMs: number, vectors = 5) => told(store, ask({ vectors, nowMs }));
    expect(await at(midnight - 1)).toMatchObject({ granted: true, left: 0 });
    expect(await at(midnight - 1, 1)).toMatchObject({ granted: false, left: 0 });
    expect(await at(midnight)).toMatchObject({ granted: true, left: 0 });
    for (const behind of [1, 3 * 1000 * DAY]) {
      expect(await at(midnight - behind, 1)).toMatchObject({ granted: false, left: 0 });
    }
    expect(await left([ask().scope], midnight + 5)).toBe(0);
    expect(await left(["new"], midnight + 5)).toBe(5);
    expect(await left([ask().scope], midnight + 1000 * DAY)).toBe(5);
  });

  test("says which budget leaves least, and when it is renewed", async () => {
    const perDay = { vectors: 5, windowSeconds: DAY };
    const { store } = await withBudgets(perDay, { vectors: 4, windowSeconds: 60 }, TEN);
    const refused = await store.reserve(ask({ vectors: 5 }));
    expect(refused.remaining).toEqual({
      budget: { vectors: 4, windowSeconds: 60 },
      left: 4,
      endsAt: windowStart(NOW, 60) + 60_000,
    });
    await store.reserve(ask({ vectors: 4 }));
    const later = await store.reserve(ask({ vectors: 2, nowMs: NOW + 60_000 }));
    const endsAt = windowStart(NOW, DAY) + 1000 * DAY;
    expect(later).toEqual({
      granted: false,
      replayed: false,
      remaining: { budget: perDay, left: 1, endsAt },
    });
  });

  test("counts what an unlimited account asks, and large numbers to the last digit", async () => {
    const subject = await make();
    const [store] = subject.stores;
    const most = 2 ** 32 - 1;
    const keys = await setBudgets(subject, "ada", [], null);
    expect(await store.reserve(ask({ vectors: most }))).toEqual({
      granted: true,
      replayed: false,
      remaining: undefined,
    });
    expect(await store.remaining("ada", "law", [ask().scope], NOW)).toBeUndefined();
    await setBudgets(subject, "ada", keys, { vectors: 2 ** 48, windowSeconds: 0 });
    expect(await told(store, ask({ vectors: 2 }))).toMatchObject({ left: 2 ** 48 - 2 ** 32 - 1 });
  });

  test("gives a key's rate: a burst, then waits, then refusals, which cost nothing", async () => {
    const { stores, setKey } = await make();
    const [store] = stores;
    const budget = { vectors: 1000, windowSeconds: 0 };
    const key = newRecord({ account: "ada", vectorsPerSecond: 5, budget });
    await setKey(key);
    const take = async (vectors: number, nowMs = NOW) => store.reserve(ask({ key, vectors, nowMs }));
    expect(await take(50)).not.toHaveProperty("waitMs");
    expect(await take(5)).toMatchObject({ granted: true, waitMs: 1000 });
    expect(await take(5)).toMatchObject({ waitMs: 2000 });
    await expect(take(100).then(() => take(60))).rejects.toMatchObject({
      code: "too_many_requests",
      hint: expect.stringMatching(/^ask again in \d+ s$/),
    });
    expect((await store.remaining("ada", "law", [ask().scope], NOW))?.left).toBe(1000 - 160);
    expect(await take(50, NOW + 100_000)).not.toHaveProperty("waitMs");
  });

  test("knows a key until it is revoked, and says when that happens", async () => {
    const { stores, setKey } = await make();
    const [store] = stores;
    const key = newRecord({ label: "naïve ☃", adapters: ["law"] });
    expect(await store.findKey(key.hash)).toBeUndefined();
    let changes = 0;
    store.onKeysChanged = () => changes++;
    await setKey(key);
    await until(() => changes === 1);
    expect(await store.findKey(key.hash)).toEqual(key);
    expect(await store.reserve(ask({ key }))).toMatchObject({ granted: true });
    await setKey({ ...key, revokedAt: NOW });
    await until(() => changes === 2);
    expect(await store.findKey(key.hash)).toEqual({ ...key, revokedAt: NOW });
    await expect(store.reserve(ask({ key }))).rejects.toMatchObject({ code: "unauthorized" });
  });
});

describe.skipIf(NO_REDIS)(`a store in Redis${NO_REDIS || ""}`, () => {
  it("costs a query one round trip", async () => {
    let commands = 0;
    const store = await openRedis("trips:", (link) => ({
      ...link,
      get isReady() {
        return link.isReady;
      },
      subscribe: link.subscribe,
      run: (...args) => {
        commands++;
        return link.run(...args);
      },
    }));
    const key = newRecord({ vectorsPerSecond: 1e6, budget: { vectors: 5, windowSeconds: DAY } });
    await store.addKey(key);
    await store.addKey(newRecord({ account: "ada", budget: { vectors: 5, windowSeconds: 7 } }));
    commands = 0;
    await store.reserve(ask({ key }));
    expect(commands).toBe(1);
  });

  it("answers a revoked key nothing at once, before anybody has been told", async () => {
    const prefix = "revoked:";
    const [store, replica] = [await openRedis(prefix), await openRedis(prefix)];
    const key = newRecord();
    const gone = newRecord();
    await store.addKey(key);
    expect(await replica.reserve(ask({ key }))).toMatchObject({ granted: true });
    await store.revokeKey(key.id, NOW);
    const refused = expect.objectContaining({ code: "unauthorized" });
    await expect(replica.reserve(ask({ key }))).rejects.toEqual(refused);
    await expect(replica.reserve(ask({ key: gone }))).rejects.toEqual(refused);
    expect((await store.usage(["ada"])).map(({ total }) => total)).toEqual([1]);
  });

  it("hears of a revocation whose message was lost", async () => {
    const prefix = "deaf:";
    const deaf = await openRedis(prefix, (link) => {
      link.subscribe = async () => {};
      return link;
    });
    const store = await openRedis(prefix);
    let changes = 0;
    deaf.onKeysChanged = () => changes++;
    await store.addKey(newRecord());
    await until(() => changes === 1);
  });

  it("keeps keys apart and changes of many at once together", async () => {
    const prefix = "many:";
    const [store, replica] = [await openRedis(prefix), await openRedis(prefix)];
    const records = Array.from({ length: 20 }, (_, i) => ({ ...newRecord(), createdAt: NOW + i }));
    await Promise.all(records.map((record, i) => (i % 2 ? store : replica).addKey(record)));
    expect(await store.keys()).toEqual(records);
    await expect(store.addKey(records[0])).rejects.toMatchObject({ code: "bad_state" });
    await Promise.all(
      [1, 2, 3].flatMap((i) => [store, replica].map((each) => each.revokeKey(records[i].id, NOW))),
    );
    const revoked = (await replica.keys()).filter(({ revokedAt }) => revokedAt !== null);
    expect(revoked.map(({ id }) => id)).toEqual([1, 2, 3].map((i) => records[i].id));
    expect(await store.revokeKey("k0", NOW)).toBe(false);
  });

  it("refuses a database of another version, and keys that are not keys", async () => {
    const link = await connectRedis({ url: redis.url });
    await link.send(["SET", "old:format", "9"]);
    await expect(RedisStore.open(link, { prefix: "old:" })).rejects.toMatchObject({
      code: "bad_state",
      message: "the Redis database holds something else at old:format",
    });
    const store = await openRedis("odd:");
    await link.send(["HSET", "odd:keys", "00", '{"id":"x"}']);
    await expect(store.keys()).rejects.toMatchObject({ code: "bad_state" });
    link.close();
  });
});

describe.skipIf(NO_REDIS)(`a Redis server that goes away${NO_REDIS || ""}`, () => {
  it("is a typed error at once and answers nothing; back again, what it had is counted on", async () => {
    const folder = mkdtempSync("/tmp/tacet-redis-");
    let own = await startRedis({ folder, args: ["--appendonly", "yes", "--appendfsync", "always"] });
    const states: string[] = [];
    const link = await connectRedis({ url: own.url, onChange: (state) => states.push(state) });
    const store = await RedisStore.open(link);
    await store.watchKeys();
    await store.addKey(newRecord({ account: "ada", budget: { vectors: 10, windowSeconds: 0 } }));
    const request = ask({ vectors: 4 });
    expect(await told(store, request)).toMatchObject({ left: 6 });
    const { port } = own;
    await own.kill();
    await until(() => !store.isReady);
    await expect(store.reserve(ask())).rejects.toMatchObject({ code: "unavailable", kind: { wire: 15 } });
    await expect(store.findKey("00")).rejects.toMatchObject({ code: "unavailable" });
    own = await startRedis({ folder, port, args: ["--appendonly", "yes", "--appendfsync", "always"] });
    await until(() => store.isReady);
    expect(await told(store, request)).toEqual({ granted: true, replayed: true, left: 6 });
    expect(await told(store, ask())).toMatchObject({ left: 5 });
    // A server that has just started may drop a first connection: then it is lost and back once more.
    expect(states.length).toBeGreaterThan(0);
    expect(states).toEqual(states.map((_, i) => (i % 2 ? "ready" : "lost")));
    expect(states.at(-1)).toBe("ready");
    store.close();
    await own.stop();
  });

  it("that hangs is one too, within its time", async () => {
    const own = await startRedis();
    const link = await connectRedis({ url: own.url, replyMs: 1000 });
    const store = await RedisStore.open(link);
    await store.addKey(newRecord({ account: "ada", budget: { vectors: 10, windowSeconds: 0 } }));
    own.pause();
    const request = ask();
    await expect(store.reserve(request)).rejects.toMatchObject({ code: "unavailable" });
    own.resume();
    // It may have run, and then the second is a replay; charged it is once.
    await until(() => store.isReady);
    expect(await told(store, request)).toMatchObject({ granted: true, left: 9 });
    store.close();
    await own.stop();
  });

  it("or refuses the password is a clear error without the password", async () => {
    const own = await startRedis({ args: ["--requirepass", "open-sesame"] });
    const wrong = own.url.replace("redis://", "redis://:wrong-sesame@");
    for (const options of [{ url: wrong }, { url: own.url }, { url: own.url, password: "other-sesame" }]) {
      const error = await connectRedis(options)
        .then((link) => RedisStore.open(link))
        .then(
          () => expect.fail("it was let in"),
          (cause: Error) => cause,
        );
      expect(error).toMatchObject({ code: expect.stringMatching(/^(connection_failed|unavailable)$/) });
      expect(JSON.stringify([error.message, error.stack, error])).not.toContain("sesame");
    }
    const link = await connectRedis({ url: own.url, password: "open-sesame" });
    await RedisStore.open(link);
    link.close();
    await own.stop();
    await expect(connectRedis({ url: own.url })).rejects.toMatchObject({
      code: "connection_failed",
      message: `the Redis server at 127.0.0.1:${own.port} can't be used (ECONNREFUSED)`,
    });
    for (const url of ["", "127.0.0.1", "http://h", "redis://", "redis://h/x"]) {
      await expect(connectRedis({ url })).rejects.toMatchObject({ code: "bad_argument" });
    }
  });
});
