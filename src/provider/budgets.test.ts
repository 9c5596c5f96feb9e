/**
 * That no order of questions passes a budget: keys of one account in turns, budgets that change, clocks that step,
 * restarts and replicas, in both stores, against a model that keeps every charge.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { NO_REDIS } from "../../test/support/redis-server.ts";
import {
  ask,
  DAY,
  digestOf,
  newRecord,
  NOW,
  redisForTests,
  setBudgets,
  storesToTry,
  type StoreSubject,
} from "../../test/support/store-subjects.ts";
import { connectRedis } from "../platform/node.ts";
import { AskedCounts } from "./asked-counts.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import { RedisStore } from "./redis-store.ts";
import { type Grant, type KeyRecord, type ProviderStore, scopeOf } from "./store.ts";

const RUNS = process.env.SLOW ? 2_000 : 100;
const REDIS_RUNS = process.env.SLOW ? 300 : 20;
const HOUR = 3_600;
const WEEK = 7 * DAY;

const redis = redisForTests();

/** Asks `times` vectors one by one, of the stores in turns; returns how many were answered. */
async function take(
  { stores }: StoreSubject,
  times: number,
  keyOf: (i: number) => KeyRecord,
  nowMs = NOW,
): Promise<number> {
  let answered = 0;
  for (let i = 0; i < times; i++) {
    const key = keyOf(i);
    const { granted } = await stores[i % stores.length].reserve(ask({ key, account: key.account, nowMs }));
    if (granted) answered++;
  }
  return answered;
}

const SUBJECTS = storesToTry(redis.make, RUNS, REDIS_RUNS);
describe.each(SUBJECTS.map((subject) => [subject.name, subject] as const))(
  "%s",
  (_, { skip, make, runs }) => {
    const test = it.skipIf(skip !== false);

    test("two keys of one account in turns get no more than one of them", async () => {
      const subject = await make();
      const budgets = [DAY, HOUR].map((windowSeconds) => ({ vectors: 100, windowSeconds }));
      const [daily, hourly] = await setBudgets(subject, "ada", [], ...budgets);
      expect(await take(subject, 1000, (i) => (i % 100 < 99 ? daily : hourly))).toBe(100);
      // Nor does the key with the shorter window go on when it has passed: the day's budget is the account's.
      const later = NOW + 1000 * HOUR;
      expect(await take(subject, 10, () => hourly, later)).toBe(0);
      expect(await take(subject, 1000, (i) => [daily, hourly][i % 2], NOW + 1000 * DAY)).toBe(100);
    });

    test.each<[string, Grant, Grant]>([
      [
        "100 a day to 100 a week",
        { vectors: 100, windowSeconds: DAY },
        { vectors: 100, windowSeconds: WEEK },
      ],
      ["100 in all to 100 a day", { vectors: 100, windowSeconds: 0 }, { vectors: 100, windowSeconds: DAY }],
      [
        "100 a day to 100 an hour",
        { vectors: 100, windowSeconds: DAY },
        { vectors: 100, windowSeconds: HOUR },
      ],
      ["100 a day to 100 in 7 s", { vectors: 100, windowSeconds: DAY }, { vectors: 100, windowSeconds: 7 }],
      ["100 a day to 100 in all", { vectors: 100, windowSeconds: DAY }, { vectors: 100, windowSeconds: 0 }],
    ])("a budget that changes from %s gives nothing more, back again neither", async (_, before, after) => {
      const subject = await make();
      let keys = await setBudgets(subject, "ada", [], before);
      expect(await take(subject, 120, () => keys[0])).toBe(100);
      for (const budget of [after, before, after, { ...before, vectors: 100 }]) {
        keys = await setBudgets(subject, "ada", keys, budget);
        await subject.restart();
        expect(await take(subject, 3, () => keys[0])).toBe(0);
      }
      keys = await setBudgets(subject, "ada", keys, { ...after, vectors: 130 });
      expect(await take(subject, 50, () => keys[0])).toBe(30);
    });

    test("a budget that is changed in its key, whose clients stay connected, holds at once", async () => {
      const subject = await make();
      const [key] = await setBudgets(subject, "ada", [], { vectors: 100, windowSeconds: DAY });
      expect(await take(subject, 80, () => key)).toBe(80);
      await subject.setKey({ ...key, budget: { vectors: 90, windowSeconds: WEEK } });
      expect(await take(subject, 80, () => key)).toBe(10);
    });

    test("a budget holds for its adapters, until its key ends or is revoked", async () => {
      const subject = await make();
      const [free] = await setBudgets(subject, "ada", [], null);
      const limited = { account: "ada", budget: { vectors: 2, windowSeconds: 0 } };
      await subject.setKey(newRecord({ ...limited, adapters: ["medicine"] }));
      expect(await take(subject, 5, () => free)).toBe(5);
      const ends = newRecord({ ...limited, expiresAt: NOW + 1000 });
      await subject.setKey(ends);
      expect(await take(subject, 5, () => free, NOW + 999)).toBe(0);
      expect(await take(subject, 5, () => free, NOW + 1000)).toBe(5);
      const lasts = newRecord(limited);
      await subject.setKey(lasts);
      expect(await take(subject, 5, () => free, NOW + 1000)).toBe(0);
      await subject.setKey({ ...lasts, revokedAt: NOW });
      expect(await take(subject, 5, () => free, NOW + 1000)).toBe(5);
    });

    test("a clock that jumps to and fro, or replicas whose clocks differ, open no window twice", async () => {
      const subject = await make();
      const [key] = await setBudgets(subject, "ada", [], { vectors: 10, windowSeconds: 60 });
      const times = [0, 120_000, -120_000, 3_600_000, 0, 3_600_000, 120_000, 0];
      let answered = 0;
      for (let round = 0; round < 3; round++) {
        for (const step of times) answered += await take(subject, 15, () => key, NOW + step);
      }
      // The minutes of 0, 120,000 and 3,600,000.
      expect(answered).toBe(30);
    });

    test("a length that no key can be made with is exact from its next window on, over restarts too", async () => {
      const subject = await make();
      const month = { vectors: 10, windowSeconds: 30 * DAY };
      const nextMonth = NOW + 30_000 * DAY;
      let keys = await setBudgets(subject, "ada", [], month);
      expect(await take(subject, 20, () => keys[0])).toBe(10);
      expect(await take(subject, 20, () => keys[0], nextMonth)).toBe(10);
      await subject.restart();
      keys = await setBudgets(subject, "ada", keys, { ...month, vectors: 15 });
      expect(await take(subject, 20, () => keys[0], nextMonth)).toBe(5);
    });

    test("a length that many others have displaced counts too much, never too little", async () => {
      const subject = await make();
      let keys = await setBudgets(subject, "ada", [], { vectors: 10, windowSeconds: 5 * DAY });
      expect(await take(subject, 20, () => keys[0])).toBe(10);
      for (let windowSeconds = 1001; windowSeconds < 1040; windowSeconds++) {
        keys = await setBudgets(subject, "ada", keys, { vectors: 100, windowSeconds });
        expect(await take(subject, 1, () => keys[0])).toBe(1);
      }
      keys = await setBudgets(subject, "ada", keys, { vectors: 50, windowSeconds: 5 * DAY });
      expect(await take(subject, 20, () => keys[0])).toBe(1);
      expect(await take(subject, 60, () => keys[0], NOW + 5000 * DAY)).toBe(50);
    });

    test("whatever is asked, changed and restarted, answers exactly what the strictest reading allows", {
      timeout: 120_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(ACTION, { minLength: 20, maxLength: 120 }), async (actions) => {
          await follow(await make(), actions);
          redis.closeStores();
        }),
        { numRuns: runs },
      );
    });
  },
);

const ACCOUNTS = ["ada", "bob"];
const ADAPTERS = ["law", "medicine"];
/** Lengths of which counts are exact whenever a budget begins, and others. */
const LENGTHS = [0, 60, HOUR, DAY, WEEK];
const OTHER_LENGTHS = [7, 90, 5_000, 30 * DAY];
const STEPS = [0, 0, 0, 500, 20_000, 61_000, 1000 * HOUR, 26_000 * HOUR, 8000 * DAY];

type Action =
  | { type: "ask"; key: number; adapter: string; id: number; vectors: number; replica: number; step: number }
  | { type: "key"; account: string; budget: Grant | null; adapters: string[]; lasts: number | null }
  | { type: "change"; key: number; budget: Grant | null }
  | { type: "revoke"; key: number }
  | { type: "restart" };

const BUDGET = fc.option(
  fc.record({
    vectors: fc.integer({ min: 0, max: 40 }),
    windowSeconds: fc.constantFrom(...LENGTHS, ...LENGTHS, ...OTHER_LENGTHS),
  }),
  { freq: 8 },
);
const ACTION: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      type: fc.constant("ask" as const),
      key: fc.nat(9),
      adapter: fc.constantFrom("law", "law", "medicine"),
      id: fc.nat(400),
      vectors: fc.integer({ min: 1, max: 9 }),
      replica: fc.nat(1),
      step: fc.tuple(fc.constantFrom(...STEPS), fc.constantFrom(1, 1, 1, -1)).map(([a, b]) => a * b),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("key" as const),
      account: fc.constantFrom("ada", "ada", "ada", "bob"),
      budget: BUDGET,
      adapters: fc.constantFrom<string[]>([], [], ["law"], ["medicine"]),
      lasts: fc.constantFrom(null, null, 100_000_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("change" as const), key: fc.nat(9), budget: BUDGET }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("revoke" as const), key: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("restart" as const) }) },
);

interface Charge {
  readonly account: string;
  readonly adapter: string;
  readonly vectors: number;
  readonly time: number;
}

/** Every key and every charge. */
class Model {
  /** `since`: number of charges that were there before the key had this budget. */
  readonly keys: { record: KeyRecord; since: number }[] = [];
  readonly charges: Charge[] = [];
  readonly seen = new Set<string>();

  /** The least that is left by all budgets; `doubtful`: by budgets that may count too much still. */
  left(account: string, adapter: string, nowMs: number): { left: number; doubtful: number } {
    const asked = this.charges.filter((each) => each.account === account && each.adapter === adapter);
    const now = Math.max(nowMs, ...asked.map(({ time }) => time));
    let [left, doubtful] = [Infinity, Infinity];
    for (const { record, since } of this.keys) {
      const { budget, adapters, expiresAt, revokedAt } = record;
      if (record.account !== account || budget === null || revokedAt !== null) continue;
      if (expiresAt !== null && nowMs >= expiresAt) continue;
      if (adapters.length > 0 && !adapters.includes(adapter)) continue;
      const length = 1000 * budget.windowSeconds;
      const start = length === 0 ? 0 : now - (now % length);
      const sum = (all: readonly Charge[]) => all.reduce((total, { vectors }) => total + vectors, 0);
      const inWindow = asked.filter(({ time }) => time >= start);
      left = Math.min(left, budget.vectors - sum(inWindow));
      const isExact =
        LENGTHS.includes(budget.windowSeconds) ||
        inWindow.every((charge) => this.charges.indexOf(charge) >= since);
      doubtful = Math.min(doubtful, budget.vectors - sum(isExact ? inWindow : asked));
    }
    return { left, doubtful };
  }
}

async function follow(subject: StoreSubject, actions: readonly Action[]): Promise<void> {
  const model = new Model();
  let nowMs = NOW;
  const put = async (record: KeyRecord) => {
    await subject.setKey(record);
    const since = model.charges.length;
    const known = model.keys.find((each) => each.record.id === record.id);
    if (known === undefined) model.keys.push({ record, since });
    else Object.assign(known, { record, since });
  };
  await put(newRecord({ account: "ada" }));
  for (const action of actions) {
    if (action.type === "restart") {
      await subject.restart();
    } else if (action.type === "key") {
      const { account, budget, adapters, lasts } = action;
      if (model.keys.length === 10) continue;
      await put(newRecord({ account, budget, adapters, expiresAt: lasts && nowMs + lasts }));
    } else {
      const { record } = model.keys[action.key % model.keys.length];
      if (action.type === "ask") {
        nowMs += action.step;
        await asks(model, subject.stores[action.replica % subject.stores.length], record, action, nowMs);
      } else if (record.revokedAt === null) {
        const change = action.type === "revoke" ? { revokedAt: NOW } : { budget: action.budget };
        await put({ ...record, ...change });
      }
    }
  }
  for (const account of ACCOUNTS) {
    for (const adapter of ADAPTERS) {
      const found = await subject.stores[0].remaining(account, adapter, [scopeFor(adapter)], nowMs);
      const { left, doubtful } = model.left(account, adapter, nowMs);
      expect(found?.left ?? Infinity).toBeLessThanOrEqual(Math.max(0, left));
      expect(found?.left ?? Infinity).toBeGreaterThanOrEqual(Math.max(0, doubtful));
    }
  }
}

const scopeFor = (adapter: string) => scopeOf(adapter, "f".repeat(64), ["q"]);

async function asks(
  model: Model,
  store: ProviderStore,
  key: KeyRecord,
  { adapter, id, vectors }: Extract<Action, { type: "ask" }>,
  nowMs: number,
): Promise<void> {
  const { account } = key;
  const request = { account, adapter, scope: scopeFor(adapter), digest: digestOf(id), vectors, nowMs, key };
  if (key.revokedAt !== null) {
    await expect(store.reserve(request)).rejects.toMatchObject({ code: "unauthorized" });
    return;
  }
  const { left, doubtful } = model.left(account, adapter, nowMs);
  const { granted, replayed, remaining } = await store.reserve(request);
  const name = `${account} ${adapter} ${id}`;
  expect(replayed).toBe(model.seen.has(name));
  const asked = replayed ? 0 : vectors;
  if (!replayed && granted) expect(vectors).toBeLessThanOrEqual(left);
  if (vectors <= doubtful || replayed) expect(granted).toBe(true);
  const spent = granted ? asked : 0;
  expect(remaining?.left ?? Infinity).toBeLessThanOrEqual(Math.max(0, left - spent));
  expect(remaining?.left ?? Infinity).toBeGreaterThanOrEqual(Math.max(0, doubtful - spent));
  if (!granted || replayed) return;
  model.seen.add(name);
  const times = model.charges
    .filter((each) => each.account === account && each.adapter === adapter)
    .map(({ time }) => time);
  model.charges.push({ account, adapter, vectors, time: Math.max(nowMs, ...times) });
  // A key that has expired, and is valid again because the clock is set back, is a new one.
  for (const each of model.keys) {
    if (each.record.expiresAt !== null && nowMs >= each.record.expiresAt) each.since = model.charges.length;
  }
}

/**
 * What version 0.1.0 wrote, by its own code: "daily" asked 70 of 100 a day two days ago and 30 today, "mixed" 60 of a
 * budget in all two days ago and 20 of 100 a day today, "today" 40 of 100 a day.
 */
const OLD_SLOTS = ["daily", "mixed", "today"].map((account, i) =>
  Buffer.from(`\u0001${String.fromCharCode(i)}\0\0\0\u0005\0${account}${scopeFor("law")}`),
);
const OLD_CHARGES = [
  "AgAAAABGAAAAAABAgsUwekKAUQEAAQEBAQEBAQEBAQEBAQEBAQ==",
  "AgAAAAAeAAAAAADATWoxekKAUQEAAgICAgICAgICAgICAgICAg==",
  "AgEAAAA8AAAAAAAAAAAAAAAAAAAAAwMDAwMDAwMDAwMDAwMDAw==",
  "AgEAAAAUAAAAAADATWoxekKAUQEABAQEBAQEBAQEBAQEBAQEBA==",
  "AgIAAAAoAAAAAADATWoxekKAUQEABQUFBQUFBQUFBQUFBQUFBQ==",
].map((text) => Buffer.from(text, "base64"));
const OLD_SUMS = [
  "AwAAAAAAAAAAAABZQAAAAAAAAD5AAADATWoxekKAUQEA",
  "AwEAAAAAAAAAAABUQAAAAAAAADRAAADATWoxekKAUQEA",
  "AwIAAAAAAAAAAABEQAAAAAAAAERAAADATWoxekKAUQEA",
].map((text) => Buffer.from(text, "base64"));

describe("what version 0.1.0 has kept", () => {
  const lefts = async (store: ProviderStore, nowMs: number) => {
    const left = async (account: string) =>
      (await store.remaining(account, "law", [scopeFor("law")], nowMs))?.left;
    return [await left("daily"), await left("mixed"), await left("today")];
  };
  const keys = ["daily", "mixed", "today"].map((account) =>
    newRecord({ account, budget: { vectors: 100, windowSeconds: DAY } }),
  );

  it.each([
    // Of a budget in all nobody knows when it was asked: it counts as asked today.
    ["charges", [...OLD_SLOTS, ...OLD_CHARGES], [70, 20, 60]],
    ["sums", [...OLD_SLOTS, ...OLD_SUMS], [0, 20, 60]],
  ])(
    "%s of a journal count no less than they say, and get their times for good",
    async (_, records, want) => {
      const journal = memoryJournal();
      for (const record of records) journal.append(record);
      const store = new EmbeddedStore(journal, journal.records, { nowMs: NOW });
      store.setKeys(keys);
      expect(await lefts(store, NOW)).toEqual(want);
      expect(await lefts(store, NOW + 1000 * DAY)).toEqual([100, 100, 100]);
      // Opened a day later it does not count as asked on that day.
      const later = new EmbeddedStore(journal, journal.records, { nowMs: NOW + 1000 * DAY });
      later.setKeys(keys.map((key) => ({ ...key, budget: { vectors: 100, windowSeconds: 0 } })));
      expect(await lefts(later, NOW)).toEqual([0, 20, 60]);
      later.setKeys(keys);
      expect(await lefts(later, NOW + 1000 * DAY)).toEqual([100, 100, 100]);
      const request = { digest: new Uint8Array(16).fill(5), scope: scopeFor("law"), vectors: 40 };
      const { replayed } = await later.reserve(ask({ account: "today", ...request }));
      expect(replayed).toBe(records.includes(OLD_CHARGES[4]));
    },
  );

  it("counts as asked now where it says of a part only when it was asked", () => {
    const yesterday = NOW - (NOW % (1000 * DAY)) - 1000 * DAY;
    const asked = (total: number, windowVectors: number, windowSeconds = DAY) =>
      AskedCounts.fromVersion1(total, windowVectors, yesterday, windowSeconds, NOW).asked(DAY, NOW);
    expect([asked(80, 80), asked(80, 79), asked(80, 0, 0), asked(0, 0)]).toEqual([0, 80, 80, 0]);
  });

  it.skipIf(NO_REDIS)("in Redis counts no less than it says, and its keys limit their accounts", async () => {
    const link = await connectRedis({ url: redis.url });
    const window = NOW - (NOW % (1000 * DAY));
    const texts = [`100 30 ${window} ${DAY}`, `80 20 ${window} ${DAY}`, `40 40 ${window} ${DAY}`];
    await link.send(["SET", "was1:format", "1"]);
    for (const [i, key] of keys.entries()) {
      await link.send(["HSET", "was1:keys", key.hash, JSON.stringify(key)]);
      await link.send(["HSET", `was1:usage:${key.account}`, scopeFor("law"), texts[i]]);
    }
    const store = await RedisStore.open(link, { prefix: "was1:" });
    expect(await link.send(["GET", "was1:format"])).toBe("3");
    expect(await lefts(store, NOW)).toEqual([0, 20, 60]);
    for (const [i, key] of keys.entries()) {
      const { account } = key;
      const request = { account, scope: scopeFor("law"), vectors: [1, 20, 60][i], key };
      expect(await store.reserve(ask(request))).toMatchObject({ granted: i > 0, remaining: { left: 0 } });
      const tomorrow = ask({ ...request, vectors: 100, nowMs: NOW + 1000 * DAY });
      expect(await store.reserve(tomorrow)).toMatchObject({ granted: true, remaining: { left: 0 } });
    }
    store.close();
  });
});
