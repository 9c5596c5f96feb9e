/** Where `tacet keys` and `tacet provider` find keys and counts: a data folder (--data) or a Redis database (--redis). */
import { TacetError } from "../../base/errors.ts";
import { changeKeys, checkDataFolder, readKeys, readUsage } from "../../library/node-data-folder.ts";
import { connectRedis, type RedisLinkOptions } from "../../platform/node.ts";
import { RedisStore, type RedisStoreOptions } from "../../provider/redis-store.ts";
import type { KeyRecord } from "../../provider/store.ts";
import type { Usage } from "../../provider/usage-ledger.ts";

export interface StoreOptions {
  readonly data?: string;
  readonly redis?: string;
  readonly redisPrefix?: string;
  readonly unmetered?: boolean;
  readonly tokenFile?: string;
}

/** What `tacet keys` needs of a store. */
export interface KeyBook {
  keys(): Promise<readonly KeyRecord[]>;
  add(record: KeyRecord): Promise<void>;
  /** false where there is no such key */
  revoke(id: string, nowMs: number): Promise<boolean>;
  usage(accounts: readonly string[], nowMs: number): Promise<readonly Usage[]>;
  close(): void;
}

/** --redis, or TACET_REDIS_URL where no option chooses something else. */
export function redisUrlOf({ data, redis, unmetered, tokenFile }: StoreOptions): string | undefined {
  if (redis !== undefined) return redis;
  const isChosen = data !== undefined || unmetered === true || tokenFile !== undefined;
  return isChosen ? undefined : process.env.TACET_REDIS_URL || undefined;
}

/** @throws TacetError bad_argument, connection_failed, unavailable, bad_state */
export async function openRedisStore(
  options: StoreOptions,
  onChange?: RedisLinkOptions["onChange"],
  told: Pick<RedisStoreOptions, "onWarning" | "onProblem"> = {},
): Promise<RedisStore> {
  const password = process.env.TACET_REDIS_PASSWORD;
  const { redisPrefix } = options;
  const link = await connectRedis({
    url: redisUrlOf(options) ?? "",
    ...(password ? { password } : {}),
    onChange,
  });
  try {
    return await RedisStore.open(link, { prefix: redisPrefix, ...told });
  } catch (error) {
    link.close();
    throw error;
  }
}

/** @throws TacetError bad_argument where neither or both are named; what opening them throws */
export async function openKeyBook(options: StoreOptions): Promise<KeyBook> {
  const { data } = options;
  if (data !== undefined && options.redis !== undefined) {
    throw new TacetError("bad_argument", "--redis and --data exclude each other");
  }
  if (data !== undefined) return folderBook(data);
  if (redisUrlOf(options) === undefined) {
    throw new TacetError("bad_argument", "the keys of which provider? --data or --redis is missing", {
      hint: "as in --data ./data, or --redis redis://127.0.0.1:6379",
    });
  }
  const store = await openRedisStore(options);
  return {
    keys: () => store.keys(),
    add: (record) => store.addKey(record),
    revoke: (id, nowMs) => store.revokeKey(id, nowMs),
    usage: (accounts, nowMs) => store.usage(accounts, nowMs),
    close: () => store.close(),
  };
}

function folderBook(dir: string): KeyBook {
  return {
    async keys() {
      checkDataFolder(dir);
      return readKeys(dir);
    },
    add: (record) => changeKeys(dir, (records) => [...records, record]),
    async revoke(id, nowMs) {
      checkDataFolder(dir);
      let found = false;
      await changeKeys(dir, (records) => {
        found = records.some((each) => each.id === id);
        const revoked = (each: KeyRecord) => ({ ...each, revokedAt: each.revokedAt ?? nowMs });
        return records.map((each) => (each.id === id ? revoked(each) : each));
      });
      return found;
    },
    usage: async (_accounts, nowMs) => readUsage(dir, nowMs).usage(),
    close: () => {},
  };
}
