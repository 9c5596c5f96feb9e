/** Opens what keeps the keys and counts of a provider: a data folder or a Redis database. */
import type { Logger } from "pino";
import { TacetError } from "../../base/errors.ts";
import { type OpenedData, openDataFolder } from "../../library/node-data-folder.ts";
import type { KeyRecord, ProviderStore } from "../../provider/store.ts";
import { openRedisStore, redisUrlOf } from "../keys/key-book.ts";
import type { ProviderSettings } from "./settings.ts";

/** Keys and counts, wherever they are. */
export interface OpenedStore {
  readonly store: ProviderStore;
  keys(): Promise<readonly KeyRecord[]>;
  /** Throws if nothing can be charged. */
  check(): void | Promise<void>;
  close(): void;
}

export async function openStore(
  settings: ProviderSettings,
  log: Logger,
  signal: AbortSignal,
): Promise<OpenedStore | undefined> {
  if (settings.data !== undefined) {
    const data = await openData(settings.data, settings, log, signal);
    const { store } = data;
    return { store, keys: async () => store.keys(), check: () => store.check(), close: () => data.close() };
  }
  if (redisUrlOf(settings) === undefined) return undefined;
  const onChange = (state: "lost" | "ready", reason: string) => {
    if (state === "ready") log.info({ type: "redis-ready" }, "the Redis server is back");
    else log.error({ type: "redis-lost", name: reason }, "the Redis server is gone: queries are refused");
  };
  const store = await openRedisStore(settings, onChange, {
    onWarning: (warning) => log.warn({ type: "redis-server" }, warning),
    onProblem(problem) {
      if (problem === undefined)
        log.info({ type: "redis-server" }, "the Redis server keeps what was counted again");
      else log.error({ type: "redis-server" }, `queries are refused: ${problem}`);
    },
  });
  try {
    await store.watchKeys();
  } catch (error) {
    store.close();
    throw error;
  }
  return { store, keys: () => store.keys(), check: () => store.check(), close: () => store.close() };
}

async function openData(
  dir: string,
  { durability }: ProviderSettings,
  log: Logger,
  signal: AbortSignal,
): Promise<OpenedData> {
  const onFault = (error: unknown) => {
    const code = error instanceof TacetError ? error.code : "internal";
    log.error(
      { type: "fault", name: code, data: dir },
      error instanceof TacetError ? error.message : "fault",
    );
  };
  const onWatch = (ms: number) => {
    log.warn(
      { type: "lock", data: dir, seconds: ms / 1000 },
      "a lock is there: waiting to see if it is in use",
    );
  };
  const options = durability === undefined ? {} : { durability };
  const data = await openDataFolder(dir, options, { onFault, onWatch, signal });
  const { droppedBytes } = data;
  if (droppedBytes > 0) log.warn({ type: "journal-tail", droppedBytes }, "an unfinished charge was dropped");
  return data;
}
