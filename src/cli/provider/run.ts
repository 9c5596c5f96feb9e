/** `tacet provider`: serves adapters until it is told to stop. */
import { availableParallelism } from "node:os";
import { type Logger, pino } from "pino";
import { TacetError } from "../../base/errors.ts";
import { WaitingBytes } from "../../base/waiting-bytes.ts";
import { nodeFileTree, type ServeOptions, type SocketServer, serveSockets } from "../../platform/node.ts";
import { keyAllows } from "../../provider/api-keys.ts";
import { loadServedAdapter, Provider, type ProviderEvent } from "../../provider/provider.ts";
import type { KeyRecord, ProviderStore } from "../../provider/store.ts";
import type { Limits } from "../../wire/limits.ts";
import {
  type AdapterFigures,
  nodeSha256,
  openDataFolder,
  type OpenedData,
  writeFigures,
} from "../../library/node-data-folder.ts";
import { exposureOf, figuresOf } from "../shared/exposure.ts";
import { takeTimeToStop, untilStopped } from "../shared/interrupt.ts";
import { openRedisStore, redisUrlOf } from "../keys/key-book.ts";
import { isLoopback } from "../shared/loopback.ts";
import { foreignTo, type OwnNames } from "../shared/own-name.ts";
import { ThreadedReplyPool } from "./reply-pool.ts";
import { readSettings } from "./config-file.ts";
import { ProviderMetrics } from "./metrics.ts";
import { RefusalLog } from "./refusal-log.ts";
import { type ProviderSettings, shownSettings } from "./settings.ts";
import { Readiness, serveStatus } from "./status-server.ts";
import { print, warn } from "../shared/terminal.ts";
import { readTokens, tokenCheck } from "../shared/token.ts";

/** @param configFile whose fields hold where no flag was given */
export async function runProvider(
  flags: Partial<ProviderSettings>,
  configFile: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const settings = await readSettings(flags, configFile);
  checkTogether(settings);
  const tokens = settings.tokenFile === undefined ? undefined : await readTokens(settings.tokenFile);
  const log = pino(
    { level: settings.logLevel, base: { pid: process.pid } },
    pino.destination({ fd: 2, sync: true }),
  );
  const refusals = new RefusalLog((line, message) => log.warn(line, message));
  const metrics = new ProviderMetrics();
  const readiness = new Readiness();
  const { metricsHost, metricsPort } = settings;
  const status =
    metricsPort === undefined
      ? undefined
      : await serveStatus({ host: metricsHost, port: metricsPort }, readiness, metrics);
  if (status !== undefined) log.info({ type: "status", url: status.url }, "status");
  let data: OpenedStore | undefined;
  let pool: ThreadedReplyPool | undefined;
  let server: SocketServer | undefined;
  try {
    const adapters = await Promise.all(settings.state.map((dir) => loadServedAdapter(nodeFileTree(dir), { marks: settings.marks })));
    data = await openStore(settings, log, signal);
    // The main thread has a separate core. Workers are started by the first long query.
    const threads = settings.threads ?? availableParallelism() - 1;
    const died = () => log.error({ type: "worker" }, "a worker has died");
    pool = threads === 0 ? undefined : new ThreadedReplyPool(threads, adapters, died);
    const provider = new Provider(adapters, {
      pool,
      limits: limitsOf(settings),
      maxConnectionsPerKey: settings.maxConnectionsPerKey,
      maxBufferedBytes: settings.maxBufferedBytes,
      waiting: new WaitingBytes({ total: settings.maxWaitingBytes }),
      onEvent(event) {
        metrics.record(event);
        if (event.type === "failed" || event.type === "refused") refusals.record(event);
        else log[LEVELS[event.type]](event, event.type);
      },
      sha256: nodeSha256,
      ...(tokens === undefined ? {} : { authorize: tokenCheck(tokens) }),
      ...(data === undefined ? {} : { store: data.store }),
    });
    checkWaiting(settings, provider);
    metrics.watch(provider);
    server = await serveSockets(socketOptions(settings, provider, metrics, log));
    warnOfExposure(settings);
    const figures = adapters.map(({ bundle }) => figuresOf(bundle.manifest));
    if (settings.data !== undefined) await writeFigures(settings.data, figures);
    if (data !== undefined) {
      warnOfBudgets(await data.keys(), figures);
      readiness.check = data.check;
    }
    readiness.reason = undefined;
    const metered = data !== undefined;
    log.info({ type: "settings", ...shownSettings(settings) }, "settings");
    const { adapterNames, limits } = provider;
    log.info({ type: "listening", url: server.url, adapters: adapterNames, metered, limits }, "listening");
    for (const each of figures) log.info({ type: "adapter", ...each }, "adapter");
    print(`listening on ${server.url}`);

    const graceMs = 1000 * settings.graceSeconds;
    takeTimeToStop(graceMs + CLOSE_MS);
    await untilStopped(signal);
    readiness.reason = "draining";
    log.info(
      { type: "draining", connections: provider.openConnections, open: provider.inFlight },
      "draining",
    );
    server.stop();
    await drained(provider, graceMs);
    await server.close(CLOSE_MS);
    refusals.flush();
    server = undefined;
    log.info({ type: "stopped", ...provider.totals }, "stopped");
  } finally {
    await server?.close(0);
    data?.close();
    status?.close();
    await pool?.close();
  }
}

/** Those that were set; the provider finds the others. */
function limitsOf({ maxMessageBytes, maxVectors, maxInFlight }: ProviderSettings): Partial<Limits> {
  return {
    maxInFlight,
    ...(maxMessageBytes === undefined ? {} : { maxMessageBytes }),
    ...(maxVectors === undefined ? {} : { maxVectors }),
  };
}

/** How long clients may take to close their end. */
const CLOSE_MS = 2_000;

/** Open queries are answered, for so long at most. */
async function drained(provider: Provider, graceMs: number): Promise<void> {
  const timer = setTimeout(() => provider.shutDown(), graceMs);
  await provider.drain();
  clearTimeout(timer);
}

function socketOptions(
  settings: ProviderSettings,
  provider: Provider,
  metrics: ProviderMetrics,
  log: Logger,
): ServeOptions {
  const { host, port, tlsCert, tlsKey, receiveSeconds } = settings;
  const { maxConnections, maxConnectionsPerAddress, trustProxy, pollMicros } = settings;
  return {
    host,
    port,
    pollMicros,
    maxConnections,
    maxConnectionsPerAddress,
    trustProxy,
    receiveMs: 1000 * receiveSeconds,
    waiting: provider.waiting,
    ...(hasKeys(settings)
      ? {}
      : { admits: (request) => foreignTo(request, ownNames(settings)) === undefined }),
    maxMessageBytes: provider.limits.maxMessageBytes,
    ...(tlsCert === undefined || tlsKey === undefined ? {} : { tls: { certFile: tlsCert, keyFile: tlsKey } }),
    onConnection: (socket) => provider.accept(socket),
    onRejected(reason) {
      metrics.rejected(reason);
      log.debug({ type: "rejected", reason }, "rejected");
    },
    onCertificate(error) {
      if (error === undefined) return log.info({ type: "certificate" }, "certificate read again");
      const why = error instanceof TacetError ? error.message : "fault";
      log.error({ type: "certificate", why }, "the former certificate is kept");
    },
  };
}

/** Whether clients must bring something that a page of another origin does not have. */
function hasKeys(settings: ProviderSettings): boolean {
  return (
    settings.data !== undefined || settings.tokenFile !== undefined || redisUrlOf(settings) !== undefined
  );
}

function ownNames({ host, hostName = [], allowOrigin = [] }: ProviderSettings): OwnNames {
  return { host, hostNames: hostName, origins: allowOrigin };
}

/**
 * @throws TacetError bad_argument if a connection's share of the memory does not hold a message and its answer, or a part
 *   of a key and its frame
 */
function checkWaiting({ maxWaitingBytes }: ProviderSettings, { limits, keyPartBytes }: Provider): void {
  const needed = 4 * Math.max(limits.maxMessageBytes, keyPartBytes);
  if (maxWaitingBytes >= needed) return;
  const what = keyPartBytes > limits.maxMessageBytes ? "part of a key" : "message";
  const least = `${needed}, four times the largest ${what}`;
  throw new TacetError("bad_argument", `--max-waiting-bytes must be at least ${least}`, {
    hint: "half of it is one connection's share, which a message and its answer must fit in (--max-message-bytes, --max-vectors)",
  });
}

/** @throws TacetError bad_argument for settings that do not go together, or a choice that was not made */
function checkTogether(settings: ProviderSettings): void {
  const { host, data, durability, tokenFile, unmetered, tlsCert, tlsKey } = settings;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new TacetError("bad_argument", "--tls-cert and --tls-key go together");
  }
  if (hasKeys(settings) && (settings.allowOrigin ?? settings.hostName) !== undefined) {
    throw new TacetError("bad_argument", "--allow-origin and --host-name are for a provider without keys", {
      hint: "with keys pages of any origin may connect, and must bring one",
    });
  }
  if (redisUrlOf(settings) !== undefined) {
    if (durability !== undefined) {
      throw new TacetError("bad_argument", "--durability is for --data", {
        hint: "with --redis the server decides: appendfsync in redis.conf (docs/deploy.md)",
      });
    }
    const others = {
      "--data": data !== undefined,
      "--unmetered": unmetered,
      "--token-file": tokenFile !== undefined,
    };
    const other = Object.entries(others).find(([, isGiven]) => isGiven)?.[0];
    if (other === undefined) return;
    throw new TacetError("bad_argument", `--redis and ${other} exclude each other`);
  }
  if (data !== undefined) {
    if (tokenFile === undefined && !unmetered) return;
    const option = unmetered ? "--unmetered" : "--token-file";
    throw new TacetError("bad_argument", `--data and ${option} exclude each other`, {
      hint: "with --data clients use the keys of 'tacet keys create'",
    });
  }
  if (durability !== undefined) throw new TacetError("bad_argument", "--durability needs --data");
  if (unmetered || isLoopback(host)) return;
  throw new TacetError("bad_argument", `serving on ${host} needs --data, or --unmetered if that is meant`, {
    hint: "without a count of their queries all clients can learn the adapted function: see 'tacet keys --help'",
  });
}

/** Keys and counts, wherever they are. */
interface OpenedStore {
  readonly store: ProviderStore;
  keys(): Promise<readonly KeyRecord[]>;
  /** Throws if nothing can be charged. */
  check(): void | Promise<void>;
  close(): void;
}

async function openStore(
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
  const store = await openRedisStore(settings, onChange, (warning) => {
    log.warn({ type: "redis-server" }, warning);
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

const LEVELS = {
  connected: "debug",
  charged: "debug",
  answered: "debug",
  key: "debug",
  welcomed: "info",
  closed: "info",
  fault: "error",
} as const satisfies Record<Exclude<ProviderEvent["type"], "failed" | "refused">, string>;

function warnOfExposure(settings: ProviderSettings): void {
  const { host, tokenFile, tlsCert, unmetered } = settings;
  const isMetered = settings.data !== undefined || redisUrlOf(settings) !== undefined;
  const local = isLoopback(host);
  // On loopback too: a proxy in front lets others in. --unmetered there says that it is meant.
  if (!isMetered && !(local && unmetered)) {
    const everybody = local ? "everybody on this machine or behind a proxy" : `anybody who reaches ${host}`;
    const who = tokenFile === undefined ? everybody : "whoever has a token";
    warn(
      `nobody is counted: ${who} can query the adapters without limit, and so learn their functions; give --data ` +
        `and keys${local ? ", or --unmetered if that is meant" : ""}`,
    );
  }
  if (local || tlsCert !== undefined) return;
  warn(
    "tokens and adapter names travel in clear: give --tls-cert and --tls-key, or put a proxy with TLS in front",
  );
}

/** Keys named in a warning; the rest are counted. */
const MOST_NAMED = 5;

/** Says which keys can learn an adapter's function, and how. */
function warnOfBudgets(records: readonly KeyRecord[], adapters: readonly AdapterFigures[]): void {
  const now = Date.now();
  for (const figures of adapters) {
    const { adapter } = figures;
    /** What is to say → ids of the keys that it is true of. */
    const keysOf = new Map<string, string[]>();
    for (const record of records) {
      if (!keyAllows(record, adapter, now)) continue;
      const { text, givesAway } = exposureOf(record, figures, now);
      if (givesAway) keysOf.set(text, [...(keysOf.get(text) ?? []), record.id]);
    }
    for (const [text, ids] of keysOf) {
      const more = ids.length > MOST_NAMED ? ` and ${ids.length - MOST_NAMED} more` : "";
      warn(`${adapter}: ${text} (${ids.slice(0, MOST_NAMED).join(", ")}${more})`);
    }
  }
}
