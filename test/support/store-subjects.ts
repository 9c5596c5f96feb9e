/** Both kinds of store, empty, with what tests do to them from outside. */

import { afterAll, afterEach, beforeAll } from "vitest";
import { connectRedis } from "../../src/platform/node.ts";
import { createApiKey, type NewKey } from "../../src/provider/api-keys.ts";
import { EmbeddedStore, type EmbeddedStoreOptions } from "../../src/provider/embedded-store.ts";
import { RedisStore, type RedisStoreOptions } from "../../src/provider/redis-store.ts";
import {
  type Grant,
  type KeyRecord,
  type ProviderStore,
  type Reservation,
  scopeOf,
} from "../../src/provider/store.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { memoryJournal } from "./memory-journal.ts";
import { NO_REDIS, type RedisServer, startRedis, stopRedisServers } from "./redis-server.ts";

export const NOW = 1_800_000_000_000;
export const DAY = 86_400;

/** One provider with a journal, or two replicas with one Redis server. */
export interface StoreSubject {
  readonly stores: readonly ProviderStore[];
  /** Puts a key where there was none, or replaces it. */
  setKey(record: KeyRecord): Promise<void>;
  /** Every provider ends and starts again. */
  restart(): Promise<void>;
  /** The machine stops, and what was not flushed is lost; where that can be done to it. */
  losePower?(): Promise<void>;
}

export const newRecord = (change: Partial<NewKey> = {}): KeyRecord =>
  createApiKey({ budget: null, ...change }, NOW, systemRandom).record;

/** Whether a key of an account may still be used, as far as its id tells. */
export async function keyIsLive(store: ProviderStore, account: string, keyId: Uint8Array): Promise<boolean> {
  return (await store.keysLeft(account, [keyId], [], 1))[0] !== undefined;
}

let fresh = 1000;
export const digestOf = (n: number): Uint8Array => new Uint8Array(16).fill(n & 255, 0, 8).fill(n >> 8, 8);
export const ask = (change: Partial<Reservation> = {}): Reservation => ({
  account: "ada",
  adapter: "law",
  scope: scopeOf("law", "f".repeat(64), ["model.layers.0.self_attn.q_proj"]),
  digest: digestOf(fresh++),
  vectors: 1,
  nowMs: NOW,
  ...change,
});

/** Ends the account's former keys and gives it one for each of these budgets. */
export async function setBudgets(
  subject: StoreSubject,
  account: string,
  former: readonly KeyRecord[],
  ...budgets: (Grant | null)[]
): Promise<KeyRecord[]> {
  for (const record of former) await subject.setKey({ ...record, revokedAt: NOW });
  const records = budgets.map((budget) => newRecord({ account, budget }));
  for (const record of records) await subject.setKey(record);
  return records;
}

export async function embeddedSubject(options: EmbeddedStoreOptions = {}): Promise<StoreSubject> {
  const journal = memoryJournal();
  const records = new Map<string, KeyRecord>();
  const stores = [new EmbeddedStore(journal, [], options)];
  return {
    stores,
    async setKey(record) {
      records.set(record.id, record);
      stores[0].setKeys([...records.values()]);
    },
    async restart() {
      stores[0].close();
      stores[0] = new EmbeddedStore(journal, journal.records, { ...options, isUntouchedSince: () => true });
      stores[0].setKeys([...records.values()]);
    },
    async losePower() {
      stores[0].close();
      journal.losePower();
      stores[0] = new EmbeddedStore(journal, journal.records, options);
      stores[0].setKeys([...records.values()]);
    },
  };
}

/** @param opened what is opened, for the test to close */
export async function redisSubject(
  url: string,
  options: RedisStoreOptions,
  opened: RedisStore[],
): Promise<StoreSubject> {
  const link = await connectRedis({ url });
  const open = async () => {
    const store = await RedisStore.open(await connectRedis({ url }), options);
    opened.push(store);
    await store.watchKeys();
    return store;
  };
  const stores = [await open(), await open()];
  // A store that only carries the link: closed with the others.
  opened.push({ close: () => link.close() } as RedisStore);
  return {
    stores,
    async setKey(record) {
      const known = (await stores[1].keys()).find(({ id }) => id === record.id);
      if (known === undefined) await stores[1].addKey(record);
      else if (record.revokedAt !== null) await stores[1].revokeKey(record.id, record.revokedAt);
      // There is no command for this: an operator who edits the database.
      else await link.send(["HSET", `${options.prefix}keys`, record.hash, JSON.stringify(record)]);
    },
    async restart() {
      for (const store of stores) store.close();
      for (const i of stores.keys()) stores[i] = await open();
    },
  };
}

/**
 * A Redis server for the tests of one file, where there is one: `make` opens two replicas in a fresh database of it, which
 * are closed after the test.
 */
export function redisForTests() {
  const open: RedisStore[] = [];
  let server: RedisServer | undefined;
  let databases = 0;
  const urlOf = () => server?.url ?? "";
  const closeStores = () => {
    for (const store of open.splice(0)) store.close();
  };
  beforeAll(async () => {
    if (!NO_REDIS) server = await startRedis();
  });
  afterEach(closeStores);
  afterAll(stopRedisServers);
  return {
    get url() {
      return urlOf();
    },
    open,
    closeStores,
    make: () => redisSubject(urlOf(), { prefix: `database${databases++}:` }, open),
  };
}

/** Both kinds of store, one of them also rewriting its journal all the time; the Redis one is skipped with a reason. */
export function storesToTry(redis: () => Promise<StoreSubject>, runs: number, redisRuns: number) {
  return [
    { name: "EmbeddedStore", skip: false, make: () => embeddedSubject(), runs },
    {
      name: "EmbeddedStore that writes its journal anew with each charge",
      skip: false,
      make: () => embeddedSubject({ compactBytes: 1 }),
      runs,
    },
    { name: `RedisStore${NO_REDIS || ""}`, skip: NO_REDIS, make: redis, runs: redisRuns },
  ];
}
