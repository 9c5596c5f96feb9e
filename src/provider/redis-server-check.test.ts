/** A Redis server that would forget what was counted is refused or warned of, also where it forbids CONFIG. */
import { afterAll, describe, expect, it } from "vitest";
import { NO_REDIS, startRedis, stopRedisServers } from "../../test/support/redis-server.ts";
import { connectRedis } from "../platform/node.ts";
import { RedisStore } from "./redis-store.ts";

const APPEND = ["--appendonly", "yes"];
const WITHOUT_CONFIG = ["--rename-command", "CONFIG", ""];
afterAll(stopRedisServers);

/** Starts a server, opens a store in it and says of what it warns; throws what opening throws. */
async function warningsOf(args: readonly string[], prepare: readonly (readonly string[])[] = [], user = "") {
  const server = await startRedis({ args });
  const admin = await connectRedis({ url: server.url });
  for (const command of prepare) await admin.send(command);
  const link = await connectRedis({ url: server.url.replace("//", `//${user}`) });
  const warnings: string[] = [];
  try {
    await RedisStore.open(link, { onWarning: (warning) => warnings.push(warning) });
    return warnings;
  } finally {
    for (const each of [link, admin]) each.close();
    await server.stop();
  }
}

describe.skipIf(NO_REDIS)(`the settings of a Redis server${NO_REDIS || ""}`, () => {
  it.each([
    ["allkeys-random", []],
    ["allkeys-lru", WITHOUT_CONFIG],
    ["volatile-ttl", []],
    ["volatile-lfu", WITHOUT_CONFIG],
  ])("%s %j is refused", async (policy, more) => {
    const args = ["--maxmemory", "64mb", "--maxmemory-policy", policy, ...APPEND, ...more];
    await expect(warningsOf(args)).rejects.toMatchObject({
      code: "bad_state",
      message: `the Redis server may evict what was counted (maxmemory-policy ${policy})`,
      hint: expect.stringContaining("maxmemory-policy noeviction"),
    });
  });

  it("that keep everything are not mentioned", async () => {
    expect(await warningsOf(APPEND)).toEqual([]);
    expect(await warningsOf([...APPEND, ...WITHOUT_CONFIG])).toEqual([]);
  });

  it.each([
    ["nothing", [], /keeps nothing on a disk/],
    ["snapshots", ["--save", "900 1"], /snapshots only/],
    ["nothing it tells of", WITHOUT_CONFIG, /does not tell whether it keeps/],
  ])("with %s on the disk are warned of", async (_, args, text) => {
    expect(await warningsOf(args)).toEqual([expect.stringMatching(text)]);
  });

  it("that a user may not read are warned of, and the store is opened", async () => {
    const rules = ["on", ">word", "~*", "&*", "+@all", "-config"];
    const warnings = await warningsOf([], [["ACL", "SETUSER", "ada", ...rules]], "ada:word@");
    expect(warnings).toEqual([expect.stringMatching(/does not tell whether it keeps/)]);
  });

  it("are refused where INFO does not tell when it was started", async () => {
    const rules = ["on", ">word", "~*", "&*", "+@all", "-info"];
    await expect(warningsOf([], [["ACL", "SETUSER", "ada", ...rules]], "ada:word@")).rejects.toMatchObject({
      code: "bad_state",
      message: "the Redis server does not tell when it was started (INFO)",
      hint: expect.stringContaining("+info"),
    });
  });
});
