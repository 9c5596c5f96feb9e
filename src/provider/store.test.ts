/** One suite for both stores: what a ProviderStore promises, and that the two count alike. */
import { mkdtempSync } from "node:fs";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { NO_REDIS, type RedisServer, startRedis, stopRedisServers } from "../../test/support/redis-server.ts";
import type { RedisLink } from "../base/platform.ts";
import { connectRedis } from "../platform/node.ts";
import { systemRandom } from "../ring/random-source.ts";
import { createApiKey, type NewKey } from "./api-keys.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import { RedisStore } from "./redis-store.ts";
import {
  type Budget,
  type KeyRecord,
  type ProviderStore,
  type Reservation,
  scopeOf,
  windowStart,
} from "./store.ts";

const RUNS = process.env.SLOW ? 300 : 15;
const DAY = 86_400;
const NOW = 1_800_000_000_000;
const digest = (n: number) => new Uint8Array(16).fill(n & 255, 0, 8).fill(n >> 8, 8);
let fresh = 1000;
const ask = (change: Partial<Reservation> = {}): Reservation => ({
  account: "ada",
  scope: scopeOf("law", "f".repeat(64), ["model.layers.0.self_attn.q_proj"]),
  digest: digest(fresh++),
  vectors: 1,
  budget: { vectors: 10, windowSeconds: 0 },
  nowMs: NOW,
  ...change,
});
const newRecord = (change: Partial<NewKey> = {}) =>
  createApiKey({ budget: null, ...change }, NOW, systemRandom).record;

/** A store that is empty, and how its keys are changed from outside. */
interface Subject {
  readonly store: ProviderStore;
  setKey(record: KeyRecord): Promise<void>;
  revoke(record: KeyRecord): Promise<void>;
}

async function embedded(): Promise<Subject> {
  const store = new EmbeddedStore(memoryJournal(), []);
  const records = new Map<string, KeyRecord>();
  const set = async (record: KeyRecord) => {
    records.set(record.id, record);
    store.setKeys([...records.values()]);
  };
  return { store, setKey: set, revoke: (record) => set({ ...record, revokedAt: NOW }) };
}

let server: RedisServer;
const open: RedisStore[] = [];
let databases = 0;
beforeAll(async () => {
  if (!NO_REDIS) server = await startRedis();
});
afterEach(() => {
  for (const store of open.splice(0)) store.close();
});
afterAll(stopRedisServers);

async function openRedis(prefix: string, wrap = (link: RedisLink) => link): Promise<RedisStore> {
  const store = await RedisStore.open(wrap(await connectRedis({ url: server.url })), { prefix });
  open.push(store);
  await store.watchKeys();
  return store;
}

async function inRedis(): Promise<Subject> {
  const prefix = `test${databases++}:`;
  const [store, replica] = [await openRedis(prefix), await openRedis(prefix)];
  return {
    store,
    setKey: (record) => replica.addKey(record),
    async revoke({ id }) {
      expect(await replica.revokeKey(id, NOW)).toBe(true);
    },
  };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const SUBJECTS = [
  { name: "EmbeddedStore", skip: false, make: embedded },
  { name: `RedisStore${NO_REDIS || ""}`, skip: NO_REDIS, make: inRedis },
];
describe.each(SUBJECTS.map((subject) => [subject.name, subject] as const))("%s", (_, { skip, make }) => {
  const test = it.skipIf(skip !== false);

  test("grants to the last vector and not one more, all of a request or none, by account and scope", async () => {
    const { store } = await make();
    expect(await store.reserve(ask({ vectors: 8 }))).toEqual({ granted: true, replayed: false, left: 2 });
    expect(await store.reserve(ask({ vectors: 3 }))).toEqual({ granted: false, replayed: false, left: 2 });
    expect(await store.reserve(ask({ vectors: 2 }))).toEqual({ granted: true, replayed: false, left: 0 });
    expect(await store.reserve(ask())).toMatchObject({ granted: false, left: 0 });
    expect(await store.reserve(ask({ scope: "other" }))).toMatchObject({ granted: true, left: 9 });
    expect(await store.reserve(ask({ account: "bob" }))).toMatchObject({ granted: true, left: 9 });
    const budget = { vectors: 12, windowSeconds: 0 };
    expect(await store.left("ada", [ask().scope, "other", "new"], budget, NOW)).toEqual([2, 11, 12]);
    expect(await store.left("ada", [], budget, NOW)).toEqual([]);
  });

  test("does not charge a request twice, and answers it again when the budget is spent", async () => {
    const { store } = await make();
    const request = ask({ vectors: 10 });
    expect(await store.reserve(request)).toMatchObject({ granted: true, left: 0 });
    expect(await store.reserve(request)).toEqual({ granted: true, replayed: true, left: 0 });
    expect(await store.reserve({ ...request, scope: "other" })).toMatchObject({ replayed: false });
    expect(await store.reserve({ ...request, account: "bob" })).toMatchObject({ replayed: false });
  });

  test("is exact when many ask at once", async () => {
    const { store } = await make();
    const budget = { vectors: 100, windowSeconds: 0 };
    const all = await Promise.all(Array.from({ length: 300 }, () => store.reserve(ask({ budget }))));
    expect(all.filter(({ granted }) => granted)).toHaveLength(100);
    expect(all.every(({ left }) => left !== undefined && left >= 0)).toBe(true);
  });

  test("renews a window's budget when the next one begins, not when a clock is a little behind", async () => {
    const { store } = await make();
    const budget: Budget = { vectors: 5, windowSeconds: DAY };
    const midnight = windowStart(NOW, DAY) + 1000 * DAY;
    const at = async (nowMs: number, vectors = 5) => store.reserve(ask({ vectors, budget, nowMs }));
    expect(await at(midnight - 1)).toMatchObject({ granted: true, left: 0 });
    expect(await at(midnight - 1, 1)).toMatchObject({ granted: false, left: 0 });
    expect(await at(midnight)).toMatchObject({ granted: true, left: 0 });
    expect(await at(midnight - 1, 1)).toMatchObject({ granted: false, left: 0 });
    const { scope } = ask();
    expect(await store.left("ada", [scope, "new"], budget, midnight + 5)).toEqual([0, 5]);
    expect(await store.left("ada", [scope], budget, midnight + 1000 * DAY)).toEqual([5]);
  });

  test("counts what an unlimited account asks, and large numbers to the last digit", async () => {
    const { store } = await make();
    const most = 2 ** 32 - 1;
    expect(await store.reserve(ask({ vectors: most, budget: undefined }))).toEqual({
      granted: true,
      replayed: false,
      left: undefined,
    });
    const budget = { vectors: 2 ** 48, windowSeconds: 0 };
    expect(await store.reserve(ask({ vectors: 2, budget }))).toMatchObject({ left: 2 ** 48 - 2 ** 32 - 1 });
  });

  test("gives a key's rate: a burst, then waits, then refusals, which cost nothing", async () => {
    const { store, setKey } = await make();
    const key = newRecord({ vectorsPerSecond: 5 });
    await setKey(key);
    const take = async (vectors: number, nowMs = NOW) =>
      store.reserve(ask({ key, vectors, nowMs, budget: undefined }));
    expect(await take(50)).not.toHaveProperty("waitMs");
    expect(await take(5)).toMatchObject({ granted: true, waitMs: 1000 });
    expect(await take(5)).toMatchObject({ waitMs: 2000 });
    await expect(take(100).then(() => take(60))).rejects.toMatchObject({
      code: "too_many_requests",
      hint: expect.stringMatching(/^ask again in \d+ s$/),
    });
    const budget = { vectors: 1000, windowSeconds: 0 };
    expect(await store.left("ada", [ask().scope], budget, NOW)).toEqual([1000 - 160]);
    expect(await take(50, NOW + 100_000)).not.toHaveProperty("waitMs");
  });

  test("knows a key until it is revoked, and says when that happens", async () => {
    const { store, setKey, revoke } = await make();
    const key = newRecord({ label: "naïve ☃", adapters: ["law"] });
    expect(await store.findKey(key.hash)).toBeUndefined();
    let changes = 0;
    store.onKeysChanged = () => changes++;
    await setKey(key);
    await until(() => changes === 1);
    expect(await store.findKey(key.hash)).toEqual(key);
    await revoke(key);
    await until(() => changes === 2);
    expect(await store.findKey(key.hash)).toEqual({ ...key, revokedAt: NOW });
  });
});

describe.skipIf(NO_REDIS)(`a store in Redis${NO_REDIS || ""}`, () => {
  it("counts as the embedded one does, whatever is asked", async () => {
    const requests = fc.array(
      fc.record({
        account: fc.constantFrom("ada", "bob"),
        scope: fc.constantFrom("a", "b"),
        digest: fc.integer({ min: 0, max: 30 }).map(digest),
        vectors: fc.integer({ min: 1, max: 6 }),
        budget: fc.constantFrom<Budget | undefined>(
          undefined,
          { vectors: 30, windowSeconds: 0 },
          { vectors: 8, windowSeconds: 60 },
          { vectors: 20, windowSeconds: 3600 },
        ),
        step: fc.integer({ min: -40_000, max: 50_000 }),
      }),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(requests, async (all) => {
        const { store: mine } = await embedded();
        const theirs = await openRedis(`same${databases++}:`);
        let nowMs = NOW;
        for (const { step, ...request } of all) {
          nowMs += step;
          const reservation = { ...request, nowMs };
          expect(await theirs.reserve(reservation)).toEqual(await mine.reserve(reservation));
        }
        theirs.close();
      }),
      { numRuns: RUNS },
    );
  });

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
    const key = newRecord({ vectorsPerSecond: 1e6 });
    await store.addKey(key);
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
    const link = await connectRedis({ url: server.url });
    await link.send(["SET", "old:format", "0"]);
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
    const request = ask({ vectors: 4 });
    expect(await store.reserve(request)).toMatchObject({ left: 6 });
    const { port } = own;
    await own.kill();
    await until(() => !store.isReady);
    await expect(store.reserve(ask())).rejects.toMatchObject({ code: "unavailable", kind: { wire: 15 } });
    await expect(store.findKey("00")).rejects.toMatchObject({ code: "unavailable" });
    own = await startRedis({ folder, port, args: ["--appendonly", "yes", "--appendfsync", "always"] });
    await until(() => store.isReady);
    expect(await store.reserve(request)).toEqual({ granted: true, replayed: true, left: 6 });
    expect(await store.reserve(ask())).toMatchObject({ left: 5 });
    expect(states).toEqual(["lost", "ready"]);
    store.close();
    await own.stop();
  });

  it("that hangs is one too, within its time", async () => {
    const own = await startRedis();
    const link = await connectRedis({ url: own.url, replyMs: 1000 });
    const store = await RedisStore.open(link);
    own.pause();
    const request = ask();
    await expect(store.reserve(request)).rejects.toMatchObject({ code: "unavailable" });
    own.resume();
    // It may have run, and then the second is a replay; charged it is once.
    await until(() => store.isReady);
    expect(await store.reserve(request)).toMatchObject({ granted: true, left: 9 });
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
