/** `tacet provider`: serves adapters until it is told to stop. */
import { pino } from "pino";
import { nodeFileTree, serveSockets } from "../platform/node.ts";
import { loadServedAdapter, Provider, type ProviderEvent } from "../provider/provider.ts";
import type { Limits } from "../wire/limits.ts";
import { print, warn } from "./terminal.ts";
import { readTokens, tokenCheck } from "./token.ts";

export interface ProviderOptions {
  readonly state: readonly string[];
  readonly host: string;
  readonly port: number;
  readonly tokenFile?: string;
  readonly pollMicros?: number;
  readonly maxVectors?: number;
  readonly maxMessageBytes?: number;
}

export async function runProvider(options: ProviderOptions, signal: AbortSignal): Promise<void> {
  const { host, port, tokenFile, pollMicros, maxVectors, maxMessageBytes } = options;
  const tokens = tokenFile === undefined ? undefined : await readTokens(tokenFile);
  const adapters = await Promise.all(options.state.map((dir) => loadServedAdapter(nodeFileTree(dir))));
  const log = pino({ base: { pid: process.pid } }, pino.destination({ fd: 2, sync: true }));
  const check = tokens === undefined ? undefined : tokenCheck(tokens);
  const limits: Partial<Limits> = {
    ...(maxVectors === undefined ? {} : { maxVectors }),
    ...(maxMessageBytes === undefined ? {} : { maxMessageBytes }),
  };
  const provider = new Provider(adapters, {
    limits,
    onEvent: (event) => log[levelOf(event)](event, event.type),
    ...(check === undefined ? {} : { authorize: (token: string) => check(token) }),
  });
  const server = await serveSockets({
    host,
    port,
    maxMessageBytes: provider.limits.maxMessageBytes,
    ...(pollMicros === undefined ? {} : { pollMicros }),
    onConnection: (socket) => provider.accept(socket),
  });
  warnOfExposure(host, tokens !== undefined);
  log.info({ type: "listening", url: server.url, adapters: provider.adapterNames }, "listening");
  print(`listening on ${server.url}`);

  await stopOf(signal);
  provider.shutDown();
  await server.close();
  log.info({ type: "stopped", ...provider.totals }, "stopped");
}

function levelOf({ type }: ProviderEvent): "info" | "warn" | "error" {
  if (type === "fault") return "error";
  return type === "refused" ? "warn" : "info";
}

function warnOfExposure(host: string, hasToken: boolean): void {
  if (/^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)) return;
  if (!hasToken) warn(`without --token-file anybody who reaches ${host} can query the adapters`);
  warn("tokens and adapter names travel in clear: put a proxy with TLS in front and use wss://");
}

/** Resolves at a signal to stop, or when the process that started this one over IPC has gone. */
async function stopOf(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    process.once("disconnect", () => resolve());
  });
}
