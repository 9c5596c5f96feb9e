/**
 * That the keys in a Redis database end where the server may have forgotten counts of them: restarted, emptied, or with
 * the data of a replica that had missed the last ones. Nobody may get a key with a smaller count than it has.
 */
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { NO_REDIS, type RedisServer, startRedis, stopRedisServers } from "../../test/support/redis-server.ts";
import { ask, keyIsLive } from "../../test/support/store-subjects.ts";
import { equalBytes } from "../base/bytes.ts";
import { connectRedis } from "../platform/node.ts";
import { RedisStore } from "./redis-store.ts";
import type { ProviderStore } from "./store.ts";

const LIMIT = 10;
const SCOPE = ask().scope;

/** What is left of a key; undefined: it is none any more, and a query under it says so too. */
async function leftOf(store: ProviderStore, keyId: Uint8Array): Promise<number | undefined> {
  const keyUse = { keyId, limit: LIMIT };
  // First what decides: the query. One that is too large for any key charges nothing.
  const { keyRefused } = await store.reserve(ask({ keyUse, vectors: LIMIT + 1 }));
  const [left] = await store.keysLeft("ada", [keyId], [SCOPE], LIMIT);
  expect(keyRefused).toBe(left === undefined ? "unknown_key" : "worn_key");
  expect(await keyIsLive(store, "ada", keyId)).toBe(left !== undefined);
  return left;
}

/** A key of which so many vectors have been asked. */
async function usedKey(store: ProviderStore, vectors: number): Promise<Uint8Array> {
  const keyId = await store.allocateKey("ada");
  await use(store, keyId, vectors);
  return keyId;
}

async function use(store: ProviderStore, keyId: Uint8Array, vectors: number): Promise<void> {
  const keyUse = { keyId, limit: LIMIT };
  for (let i = 0; i < vectors; i++) {
    expect(await store.reserve(ask({ keyUse }))).toMatchObject({ granted: true });
  }
}

describe.skipIf(NO_REDIS)(`keys in a Redis server${NO_REDIS || ""}`, () => {
  const stores: RedisStore[] = [];
  afterEach(() => {
    for (const store of stores.splice(0)) store.close();
  });
  afterAll(stopRedisServers);

  async function open(server: RedisServer): Promise<RedisStore> {
    const store = await RedisStore.open(await connectRedis({ url: server.url }));
    stores.push(store);
    return store;
  }
  async function send(server: RedisServer, ...command: string[]): Promise<string> {
    const link = await connectRedis({ url: server.url });
    try {
      return String(await link.send(command));
    } finally {
      link.close();
    }
  }
  async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  /** Makes a server the copy of another, all of it. */
  async function follow(server: RedisServer, leader: RedisServer): Promise<void> {
    await send(server, "REPLICAOF", "127.0.0.1", String(leader.port));
    await until(async () => {
      const [ours, its] = [
        await send(server, "INFO", "replication"),
        await send(leader, "INFO", "replication"),
      ];
      const offset = (text: string) => /\r\n(?:slave|master)_repl_offset:(\d+)/.exec(text)?.[1];
      return ours.includes("master_link_status:up") && offset(ours) === offset(its);
    });
  }
  const lead = (server: RedisServer) => send(server, "REPLICAOF", "NO", "ONE");

  it.each([
    ["from an older snapshot", []],
    ["with all that it was told", ["--appendonly", "yes", "--appendfsync", "always"]],
  ])("end when it starts anew %s, for providers that stay connected too", async (_, args) => {
    const server = await startRedis({ args });
    const store = await open(server);
    const keyId = await usedKey(store, 2);
    if (args.length === 0) await send(server, "SAVE");
    await use(store, keyId, 7);
    await server.kill();
    await until(() => !store.isReady);
    const again = await startRedis({ port: server.port, folder: server.folder, args });
    await until(() => store.isReady);
    expect(await leftOf(store, keyId)).toBeUndefined();
    const next = await store.allocateKey("ada");
    expect(equalBytes(next, keyId)).toBe(false);
    expect(await leftOf(store, next)).toBe(LIMIT);
    expect(await leftOf(await open(again), next)).toBe(LIMIT);
    await again.stop();
  });

  it("go on for every provider that opens it while it runs", async () => {
    const server = await startRedis();
    const keyId = await usedKey(await open(server), 2);
    const replica = await open(server);
    await use(replica, keyId, 8);
    expect(await leftOf(await open(server), keyId)).toBe(0);
    await server.stop();
  });

  it("end when it goes on from a former replica that had missed counts", async () => {
    const [first, second] = [await startRedis(), await startRedis()];
    const store = await open(first);
    await follow(second, first);
    const keyId = await usedKey(store, 2);
    await follow(second, first);
    await lead(second);
    await use(store, keyId, 7);
    await follow(first, second);
    await lead(first);
    expect(await leftOf(store, keyId)).toBeUndefined();
    await first.stop();
    await second.stop();
  });

  it("end at each change of who leads, also back to a server that has known the scripts all along", async () => {
    const [first, second] = [await startRedis(), await startRedis()];
    const store = await open(first);
    await usedKey(store, 2);
    await follow(second, first);
    await lead(second);
    const other = await open(second);
    const keyId = await usedKey(other, 2);
    await follow(first, second);
    await lead(first);
    // What the second has counted since is not known to the first.
    await use(other, keyId, 8);
    expect(await leftOf(store, keyId)).toBeUndefined();
    await first.stop();
    await second.stop();
  });

  it("end when it is emptied, and those made then are good", async () => {
    const server = await startRedis();
    const store = await open(server);
    const keyId = await usedKey(store, 2);
    await send(server, "FLUSHALL");
    expect(await leftOf(store, keyId)).toBeUndefined();
    const next = await usedKey(store, 3);
    expect(equalBytes(next, keyId)).toBe(false);
    expect(await leftOf(store, next)).toBe(LIMIT - 3);
    await send(server, "FLUSHALL");
    expect(equalBytes(await store.allocateKey("ada"), next)).toBe(false);
    await server.stop();
  });

  it("ended, leave nothing in the database; what has been counted since stays, and what others keep there", async () => {
    const args = ["--appendonly", "yes", "--appendfsync", "always"];
    const server = await startRedis({ args });
    // Its name, as a pattern, is that of the other store too.
    const openAs = async (url: string, prefix: string) => {
      const store = await RedisStore.open(await connectRedis({ url }), { prefix });
      stores.push(store);
      return store;
    };
    const store = await openAs(server.url, "t[ab]:");
    const other = await openAs(server.url, "ta:");
    const [old, others] = [await usedKey(store, 2), await usedKey(other, 2)];
    for (const account of ["bob", "c:d", "ünï"]) await store.allocateKey(account);
    const entries = async () => {
      const link = await connectRedis({ url: server.url });
      try {
        return ((await link.send(["KEYS", "*"])) as string[]).filter((name) => /:(serial|used):/.test(name));
      } finally {
        link.close();
      }
    };
    expect(await entries()).toHaveLength(7);
    await server.kill();
    await until(() => !store.isReady && !other.isReady);
    const again = await startRedis({ port: server.port, folder: server.folder, args });
    await until(() => store.isReady && other.isReady);
    expect(await leftOf(store, old)).toBeUndefined();
    // The epoch begins; more is counted while what has ended is being looked for.
    const [first, ...more] = await Promise.all(Array.from({ length: 30 }, () => store.allocateKey("ada")));
    await use(store, first, 3);
    await until(async () => (await entries()).filter((name) => name.startsWith("t[ab]:")).length === 2);
    expect(await leftOf(store, first)).toBe(LIMIT - 3);
    for (const keyId of more) expect(await leftOf(store, keyId)).toBe(LIMIT);
    // The other one's are its own to forget, when it begins an epoch.
    expect((await entries()).filter((name) => name.startsWith("ta:"))).toHaveLength(2);
    expect(await leftOf(other, others)).toBeUndefined();
    await other.allocateKey("ada");
    await until(async () => (await entries()).filter((name) => name.startsWith("ta:")).length === 1);
    await again.stop();
  });
});
