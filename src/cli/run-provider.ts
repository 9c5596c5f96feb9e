/** `tacet provider`: serves adapters until it is told to stop. */
import { type Logger, pino } from "pino";
import { TacetError } from "../base/errors.ts";
import { nodeFileTree, serveSockets } from "../platform/node.ts";
import { loadServedAdapter, Provider, type ProviderEvent, type ServedAdapter } from "../provider/provider.ts";
import type { Limits } from "../wire/limits.ts";
import { securityFacts, showFunctionVectors } from "./bundle-facts.ts";
import { nodeSha256, type OpenedData, openDataFolder, readKeys } from "./data-folder.ts";
import { print, warn } from "./terminal.ts";
import { readTokens, tokenCheck } from "./token.ts";

export interface ProviderOptions {
  readonly state: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly data?: string;
  readonly durability?: "process" | "power";
  readonly unmetered?: boolean;
  readonly tokenFile?: string;
  readonly pollMicros?: number;
  readonly maxVectors?: number;
  readonly maxMessageBytes?: number;
}

export async function runProvider(options: ProviderOptions, signal: AbortSignal): Promise<void> {
  const { host, port, tokenFile, pollMicros, maxVectors, maxMessageBytes } = options;
  checkAccess(options);
  const tokens = tokenFile === undefined ? undefined : await readTokens(tokenFile);
  const adapters = await Promise.all(options.state.map((dir) => loadServedAdapter(nodeFileTree(dir))));
  const log = pino({ base: { pid: process.pid } }, pino.destination({ fd: 2, sync: true }));
  const check = tokens === undefined ? undefined : tokenCheck(tokens);
  const limits: Partial<Limits> = {
    ...(maxVectors === undefined ? {} : { maxVectors }),
    ...(maxMessageBytes === undefined ? {} : { maxMessageBytes }),
  };
  const data = options.data === undefined ? undefined : openData(options.data, options, log);
  try {
    const provider = new Provider(adapters, {
      limits,
      onEvent: (event) => log[levelOf(event)](event, event.type),
      sha256: nodeSha256,
      ...(check === undefined ? {} : { authorize: (token: string) => check(token) }),
      ...(data === undefined ? {} : { store: data.store }),
    });
    const server = await serveSockets({
      host,
      port,
      maxMessageBytes: provider.limits.maxMessageBytes,
      ...(pollMicros === undefined ? {} : { pollMicros }),
      onConnection: (socket) => provider.accept(socket),
    });
    warnOfExposure(options);
    if (options.data !== undefined) warnOfUnlimited(options.data, adapters);
    const metered = data !== undefined;
    log.info({ type: "listening", url: server.url, adapters: provider.adapterNames, metered }, "listening");
    print(`listening on ${server.url}`);

    await stopOf(signal);
    provider.shutDown();
    await server.close();
    log.info({ type: "stopped", ...provider.totals }, "stopped");
  } finally {
    data?.close();
  }
}

const LOOPBACK = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

/** @throws TacetError bad_argument for options that do not go together, or a choice that was not made */
function checkAccess({ host, data, durability, tokenFile, unmetered }: ProviderOptions): void {
  if (data !== undefined) {
    if (tokenFile === undefined && !unmetered) return;
    const option = unmetered ? "--unmetered" : "--token-file";
    throw new TacetError("bad_argument", `--data and ${option} exclude each other`, {
      hint: "with --data clients use the keys of 'tacet keys create'",
    });
  }
  if (durability !== undefined) throw new TacetError("bad_argument", "--durability needs --data");
  if (unmetered || LOOPBACK.test(host)) return;
  throw new TacetError("bad_argument", `serving on ${host} needs --data, or --unmetered if that is meant`, {
    hint: "without a count of their queries all clients can learn the adapted function: see 'tacet keys --help'",
  });
}

function openData(dir: string, { durability }: ProviderOptions, log: Logger): OpenedData {
  const onFault = (error: unknown) => {
    const code = error instanceof TacetError ? error.code : "internal";
    log.error(
      { type: "fault", name: code, data: dir },
      error instanceof TacetError ? error.message : "fault",
    );
  };
  const data = openDataFolder(dir, durability === undefined ? {} : { durability }, onFault);
  const { droppedBytes } = data;
  if (droppedBytes > 0) log.warn({ type: "journal-tail", droppedBytes }, "an unfinished charge was dropped");
  return data;
}

function levelOf({ type }: ProviderEvent): "info" | "warn" | "error" {
  if (type === "fault") return "error";
  return type === "refused" ? "warn" : "info";
}

function warnOfExposure({ host, data, tokenFile }: ProviderOptions): void {
  if (LOOPBACK.test(host)) return;
  const who = tokenFile === undefined ? `anybody who reaches ${host}` : "whoever has a token";
  if (data === undefined) warn(`${who} can query the adapters without limit, and so learn their functions`);
  warn("tokens and adapter names travel in clear: put a proxy with TLS in front and use wss://");
}

/** Says what a budget without end means, with the numbers of these adapters. */
function warnOfUnlimited(dir: string, adapters: readonly ServedAdapter[]): void {
  const keys = readKeys(dir).filter(({ budget, revokedAt }) => budget === null && revokedAt === null);
  if (keys.length === 0) return;
  const ids = keys.map(({ id }) => id).join(", ");
  for (const { name, bundle } of adapters) {
    const vectors = showFunctionVectors(securityFacts(bundle.manifest));
    warn(`keys without limit (${ids}) can learn a group of ${name} with so many chosen vectors: ${vectors}`);
  }
}

/** Resolves at a signal to stop, or when the process that started this one over IPC has gone. */
async function stopOf(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    process.once("disconnect", () => resolve());
  });
}
