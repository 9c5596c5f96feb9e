/**
 * Whether a Redis server keeps what it is given: a store that evicts counts, or forgets them when it ends, gives
 * budgets back. Asked by CONFIG GET, and by INFO where that is forbidden, as it is at many that are managed.
 */
import { TacetError } from "../base/errors.ts";
import type { RedisLink } from "../base/platform.ts";

/**
 * What an operator should hear, a sentence each.
 *
 * @throws TacetError bad_state for a server that may evict keys, or does not tell its run; unavailable
 */
export async function checkRedisServer(link: RedisLink): Promise<string[]> {
  if ((await infoOf(link, "server"))?.get("run_id") === undefined) {
    throw new TacetError("bad_state", "the Redis server does not tell when it was started (INFO)", {
      hint: "allow its user INFO (ACL: +info): keys from before its restart must no longer be used",
    });
  }
  const [policy, persistence] = await Promise.all([refuseEviction(link), readPersistence(link)]);
  const warnings: string[] = [];
  if (policy === undefined) {
    warnings.push(
      "the Redis server does not tell its maxmemory-policy (CONFIG is refused): it must be noeviction",
    );
  }
  if (persistence === "none") {
    warnings.push(
      "the Redis server keeps nothing on a disk (no appendonly, no save): when it ends all budgets begin anew and all keys are gone",
    );
  } else if (persistence === "snapshots") {
    warnings.push(
      "the Redis server writes snapshots only (no appendonly): when it ends, the charges since the latest one are forgotten",
    );
  } else if (persistence === undefined) {
    warnings.push(
      "the Redis server does not tell whether it keeps what was charged: it must have appendonly yes",
    );
  }
  return warnings;
}

/**
 * The server's policy; undefined: it does not tell.
 *
 * @throws TacetError bad_state for one that evicts; unavailable
 */
export async function refuseEviction(link: RedisLink): Promise<string | undefined> {
  const policy =
    (await configOf(link, "maxmemory-policy")) ?? (await infoOf(link, "memory"))?.get("maxmemory_policy");
  if (policy === undefined || policy === "noeviction") return policy;
  throw new TacetError(
    "bad_state",
    `the Redis server may evict what was counted (maxmemory-policy ${policy})`,
    { hint: "set 'maxmemory-policy noeviction': with an evicted count a budget begins again from zero" },
  );
}

type Persistence = "appended" | "snapshots" | "none";

async function readPersistence(link: RedisLink): Promise<Persistence | undefined> {
  const appended = await configOf(link, "appendonly");
  if (appended === "yes") return "appended";
  if (appended !== undefined) {
    const save = await configOf(link, "save");
    return save === "" ? "none" : save === undefined ? undefined : "snapshots";
  }
  // INFO does not tell whether snapshots are planned.
  return (await infoOf(link, "persistence"))?.get("aof_enabled") === "1" ? "appended" : undefined;
}

async function configOf(link: RedisLink, name: string): Promise<string | undefined> {
  const reply = await unlessRefused(link, ["CONFIG", "GET", name]);
  return Array.isArray(reply) && typeof reply[1] === "string" ? reply[1] : undefined;
}

async function infoOf(link: RedisLink, section: string): Promise<Map<string, string> | undefined> {
  const reply = await unlessRefused(link, ["INFO", section]);
  if (typeof reply !== "string") return undefined;
  const lines = reply.split("\r\n").filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}

/** The reply; undefined where the server knows no such command or forbids it. */
async function unlessRefused(link: RedisLink, command: readonly string[]): Promise<unknown> {
  try {
    return await link.send(command);
  } catch (error) {
    if (error instanceof TacetError && /\((ERR|NOPERM)\)/.test(error.message)) return undefined;
    throw error;
  }
}
