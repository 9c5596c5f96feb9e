/**
 * A Redis server that begins to evict while it is in use: nothing is charged while it may, and nothing from the moment it
 * has, whoever looks, until an operator says so.
 */
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { NO_REDIS, type RedisServer, startRedis, stopRedisServers } from "../../test/support/redis-server.ts";
import { ask, newRecord } from "../../test/support/store-subjects.ts";
import type { RedisLink } from "../base/platform.ts";
import { connectRedis } from "../platform/node.ts";
import { RedisStore, type RedisStoreOptions } from "./redis-store.ts";

const REFUSED = {
  code: "unavailable",
  message: "the provider's store may have forgotten what was asked",
};
const LOST = { code: "bad_state", hint: expect.stringContaining("remove tacet:lost (DEL)") };

describe.skipIf(NO_REDIS)(`a Redis server${NO_REDIS || ""}`, () => {
  let server: RedisServer;
  let admin: RedisLink;
  const open: { close(): void }[] = [];
  beforeEach(async () => {
    server = await startRedis({ args: ["--appendonly", "yes"] });
    open.push((admin = await connectRedis({ url: server.url })));
  });
  afterEach(async () => {
    for (const each of open.splice(0)) each.close();
    await server.stop();
  });
  afterAll(stopRedisServers);

  async function store(options: RedisStoreOptions = {}): Promise<RedisStore> {
    const opened = await RedisStore.open(await connectRedis({ url: server.url }), options);
    open.push(opened);
    return opened;
  }
  const set = (name: string, value: string) => admin.send(["CONFIG", "SET", name, value]);
  const granted = async (each: RedisStore, keyId?: Uint8Array) => {
    const keyUse = keyId && { keyId, limit: 100 };
    return (await each.reserve(ask({ ...(keyUse && { keyUse }) }))).granted;
  };
  /** Makes the server evict something, nothing of the store, and keep everything again. */
  async function evict(): Promise<void> {
    const evicted = async () =>
      Number(/evicted_keys:(\d+)/.exec(String(await admin.send(["INFO", "stats"])))?.[1]);
    for (let i = 0; i < 2000; i++) await admin.send(["SET", `other:${i}`, "x".repeat(1000), "EX", "60"]);
    await set("maxmemory-policy", "volatile-ttl");
    await set("maxmemory", "2mb");
    while ((await evicted()) === 0) await admin.send(["SET", "other", "x", "EX", "60"]);
    await set("maxmemory", "0");
    await set("maxmemory-policy", "noeviction");
  }
  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  it("that may evict from now on is noticed, and charged nothing until it may no longer", async () => {
    const told: (string | undefined)[] = [];
    const used = await store({ onProblem: (problem) => told.push(problem) });
    await used.watchKeys();
    expect(await granted(used)).toBe(true);
    await set("maxmemory-policy", "volatile-ttl");
    await until(() => told.length === 1);
    expect(told[0]).toMatch(
      /may evict what was counted \(maxmemory-policy volatile-ttl\); set 'maxmemory-policy/,
    );
    await expect(used.reserve(ask())).rejects.toMatchObject(REFUSED);
    await expect(used.check()).rejects.toMatchObject(REFUSED);
    await set("maxmemory-policy", "noeviction");
    await until(() => told.length === 2);
    expect(told[1]).toBeUndefined();
    expect(await granted(used)).toBe(true);
    await used.check();
  });

  it("that has evicted something is charged nothing from then on, before anybody has looked", async () => {
    const told: (string | undefined)[] = [];
    const [one, other] = [await store({ onProblem: (problem) => told.push(problem) }), await store()];
    const key = await one.allocateKey("ada");
    expect(await granted(one, key)).toBe(true);
    await evict();
    await expect(one.reserve(ask({ keyUse: { keyId: key, limit: 100 } }))).rejects.toMatchObject(REFUSED);
    expect(told).toEqual([expect.stringContaining("has evicted entries of this database")]);
    await expect(other.reserve(ask())).rejects.toMatchObject(REFUSED);
    await expect(store()).rejects.toMatchObject(LOST);
    // No key of before is good, since what it has answered may be forgotten.
    expect(await one.keysLeft("ada", [key], [ask().scope], 100)).toEqual([undefined]);
  });

  it("stays refused over a restart, and is good again when its operator says so", async () => {
    await store();
    await evict();
    await expect(store()).rejects.toMatchObject(LOST);
    const { port, folder } = server;
    await admin.send(["SHUTDOWN"]).catch(() => {});
    for (const each of open.splice(0)) each.close();
    server = await startRedis({ port, folder, args: ["--appendonly", "yes"] });
    open.push((admin = await connectRedis({ url: server.url })));
    await expect(store()).rejects.toMatchObject(LOST);
    await admin.send(["DEL", "tacet:lost"]);
    const used = await store({ onProblem: () => expect.unreachable() });
    await used.watchKeys();
    expect(await granted(used, await used.allocateKey("ada"))).toBe(true);
  });

  it.each([["whole"], ["format"]])("whose entry %s is gone has evicted something", async (name) => {
    const used = await store();
    await used.addKey(newRecord({ account: "ada" }));
    await admin.send(["DEL", `tacet:${name}`]);
    await expect(store()).rejects.toMatchObject(LOST);
    await expect(used.reserve(ask())).rejects.toMatchObject(REFUSED);
  });

  it("that has evicted other databases' entries before it was used for this one is good", async () => {
    await evict();
    const used = await store();
    expect(await granted(used)).toBe(true);
    expect(await granted(await store())).toBe(true);
  });
});
