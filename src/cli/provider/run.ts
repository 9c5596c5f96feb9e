/** `tacet provider`: serves adapters until it is told to stop. */
import { type Logger, pino } from "pino";
import { TacetError } from "../../base/errors.ts";
import { WaitingBytes } from "../../base/waiting-bytes.ts";
import {
  nodeAfterEvents,
  nodeFileTree,
  nodePublicKeyEd25519,
  nodeSha256,
  nodeSignEd25519,
  type ServeOptions,
  type SocketServer,
  serveSockets,
} from "../../platform/node.ts";
import { usableProcessors } from "../../platform/node/cores.ts";
import { collectLessOften } from "../../platform/node/heap.ts";
import { loadServedAdapter, Provider, type ProviderEvent } from "../../provider/provider.ts";
import type { Limits } from "../../wire/limits.ts";
import { writeFigures } from "../../library/node-data-folder.ts";
import { figuresOf } from "../shared/exposure.ts";
import { takeTimeToStop, untilStopped } from "../shared/interrupt.ts";
import { foreignTo, type OwnNames } from "../shared/own-name.ts";
import { checkTogether, checkWaiting, hasKeys, warnOfBudgets, warnOfExposure } from "./check-settings.ts";
import { readSettings } from "./config-file.ts";
import type { ProviderMetrics } from "./metrics.ts";
import { type OpenedStore, openStore } from "./open-store.ts";
import { RefusalLog } from "./refusal-log.ts";
import { ThreadedReplyPool } from "./reply-pool.ts";
import { type ProviderSettings, shownSettings } from "./settings.ts";
import { Readiness, serveStatus } from "./status-server.ts";
import { print } from "../shared/terminal.ts";
import { readTokens, tokenCheck } from "../shared/token.ts";

/** @param configFile whose fields hold where no flag was given */
export async function runProvider(
  flags: Partial<ProviderSettings>,
  configFile: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  collectLessOften();
  const settings = await readSettings(flags, configFile);
  checkTogether(settings);
  const tokens = settings.tokenFile === undefined ? undefined : await readTokens(settings.tokenFile);
  const log = pino(
    { level: settings.logLevel, base: { pid: process.pid } },
    pino.destination({ fd: 2, sync: true }),
  );
  const refusals = new RefusalLog((line, message) => log.warn(line, message));
  const readiness = new Readiness();
  const { metricsHost, metricsPort } = settings;
  // Nobody can read them elsewhere, and to load what counts takes a tenth of a start.
  const metrics =
    metricsPort === undefined ? undefined : new (await import("./metrics.ts")).ProviderMetrics();
  const status =
    metricsPort === undefined || metrics === undefined
      ? undefined
      : await serveStatus({ host: metricsHost, port: metricsPort }, readiness, metrics);
  if (status !== undefined) log.info({ type: "status", url: status.url }, "status");
  let data: OpenedStore | undefined;
  let pool: ThreadedReplyPool | undefined;
  let server: SocketServer | undefined;
  try {
    const adapters = await Promise.all(
      settings.state.map((dir) =>
        loadServedAdapter(nodeFileTree(dir), {
          marks: settings.marks,
          publicKeyEd25519: nodePublicKeyEd25519,
        }),
      ),
    );
    data = await openStore(settings, log, signal);
    // The main thread has a separate core. Workers are started by the first long query.
    const threads = settings.threads ?? usableProcessors() - 1;
    const died = () => log.error({ type: "worker" }, "a worker has died");
    pool = threads === 0 ? undefined : new ThreadedReplyPool(threads, adapters, died);
    const provider = new Provider(adapters, {
      pool,
      limits: limitsOf(settings),
      maxConnectionsPerKey: settings.maxConnectionsPerKey,
      maxBufferedBytes: settings.maxBufferedBytes,
      waiting: new WaitingBytes({ total: settings.maxWaitingBytes }),
      onEvent(event) {
        metrics?.record(event);
        if (event.type === "failed" || event.type === "refused") refusals.record(event);
        else log[LEVELS[event.type]](event, event.type);
      },
      sha256: nodeSha256,
      signEd25519: nodeSignEd25519,
      afterEvents: nodeAfterEvents,
      authorize: tokens && tokenCheck(tokens),
      store: data?.store,
    });
    checkWaiting(settings, provider);
    metrics?.watch(provider);
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
  metrics: ProviderMetrics | undefined,
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
    admits: hasKeys(settings) ? undefined : (request) => foreignTo(request, ownNames(settings)) === undefined,
    maxMessageBytes: provider.limits.maxMessageBytes,
    tls: tlsCert === undefined || tlsKey === undefined ? undefined : { certFile: tlsCert, keyFile: tlsKey },
    onConnection: (socket) => provider.accept(socket),
    onRejected(reason) {
      metrics?.rejected(reason);
      log.debug({ type: "rejected", reason }, "rejected");
    },
    onCertificate(error) {
      if (error === undefined) return log.info({ type: "certificate" }, "certificate read again");
      const why = error instanceof TacetError ? error.message : "fault";
      log.error({ type: "certificate", why }, "the former certificate is kept");
    },
  };
}

function ownNames({ host, hostName = [], allowOrigin = [] }: ProviderSettings): OwnNames {
  return { host, hostNames: hostName, origins: allowOrigin };
}

const LEVELS = {
  connected: "debug",
  charged: "debug",
  answered: "debug",
  key: "debug",
  worn: "debug",
  welcomed: "info",
  closed: "info",
  fault: "error",
} as const satisfies Record<Exclude<ProviderEvent["type"], "failed" | "refused">, string>;
