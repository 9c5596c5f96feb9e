/** `tacet serve`: an OpenAI-compatible endpoint on this machine, until it is told to stop. */

import { TacetError } from "../../base/errors.ts";
import { Endpoint, FairSemaphore, OpenRequest } from "../../openai/endpoint.ts";
import { startEmbeddedProvider } from "../shared/embedded-provider.ts";
import { untilStopped } from "../shared/interrupt.ts";
import type { DraftFlags } from "../shared/draft-options.ts";
import { isLoopback } from "../shared/loopback.ts";
import { describeFailure } from "../shared/report-error.ts";
import { checkSource, type SourceOptions } from "../shared/source.ts";
import type { TemplateFlags } from "../shared/template-options.ts";
import { print, warn } from "../shared/terminal.ts";
import { keyNames, readTokens } from "../shared/token.ts";
import { serveHttp } from "./http-server.ts";
import type { LocalSpec } from "./local-specs.ts";
import type { EndpointLogLevel } from "./log-level.ts";
import type { ModelSpec } from "./model-specs.ts";
import { type OpenedModels, openModels } from "./open-models.ts";
import { endpointLog, logRequest } from "./request-lines.ts";

export interface ServeFlags extends Omit<SourceOptions, "adapter">, TemplateFlags, DraftFlags {
  readonly host: string;
  readonly port: number;
  readonly apiKeyFile?: string;
  readonly corsOrigin?: readonly string[];
  readonly serveBase?: boolean;
  readonly parallel: number;
  readonly queue: number;
  readonly contexts: number;
  /** Instead of --provider and what belongs to it. */
  readonly model?: readonly ModelSpec[];
  /** Adapters that are here. */
  readonly adapter?: readonly LocalSpec[];
  readonly logLevel: EndpointLogLevel;
  /** Ids that end every answer, besides the models' own. */
  readonly stopId?: readonly number[];
}

/** What is being answered may end within this; the process gives all of its stopping 3 s (interrupt.ts). */
const GRACE_MS = 1_500;
const CLOSE_MS = 500;

export async function runServe(options: ServeFlags, signal: AbortSignal): Promise<void> {
  checkOptions(options);
  const keys = options.apiKeyFile === undefined ? undefined : await readTokens(options.apiKeyFile);
  const log = endpointLog(options.logLevel);
  const { adapter: local = [], ...others } = options;
  const isAsking = options.provider !== undefined || options.model !== undefined;
  const isOwn = !isAsking && local.length === 0;
  const own = isOwn ? await startEmbeddedProvider(signal) : undefined;
  let models: OpenedModels | undefined;
  try {
    const remote = options.model ?? (isAsking ? [specOf(options)] : []);
    const specs = {
      remote: own === undefined ? remote : [specOf({ ...options, provider: [own.url] })],
      local,
    };
    models = await openModels(specs, others, new FairSemaphore(options.parallel, options.queue), signal);
    const { served } = models;
    const endpoint = new Endpoint({
      models: served,
      authorize: keys && keyNames(keys),
      corsOrigins: options.corsOrigin ?? [],
      onFault: (error) => log.error({ type: "fault" }, describeFailure(error).message),
      onRequest: (entry) => logRequest(log, entry),
    });
    const { host, port } = options;
    const server = await serveHttp({
      ...{ host, port, handle: (request) => endpoint.handle(request) },
      onRefused: (method, status) => new OpenRequest(method, (entry) => logRequest(log, entry)).end(status),
    });
    if (!isLoopback(host)) warn("keys, prompts and answers travel in clear on the way to this endpoint");
    print(`listening on ${server.url}/v1 (${served.map(({ id }) => id).join(", ")})`);
    await untilStopped(signal);
    const closed = server.close(GRACE_MS + CLOSE_MS);
    await endpoint.stop(GRACE_MS);
    await closed;
  } finally {
    await models?.close();
    await own?.stop();
  }
}

/** --provider and what belongs to it. */
function specOf({ provider = [], adapterName, bundleDigest, providerKey }: ServeFlags): ModelSpec {
  return {
    provider,
    adapter: adapterName,
    bundleDigest,
    providerKey,
  };
}

/** @throws TacetError bad_argument for options that are another one's, or a model's own */
function checkModels(options: ServeFlags): void {
  if (options.model === undefined) {
    const { adapter: _, ...source } = options;
    checkSource(source);
    return;
  }
  const { provider, adapterName, bundleDigest, providerKey } = options;
  const others = { provider, adapterName, bundleDigest, providerKey };
  const stray = Object.entries(others).find(([, value]) => value !== undefined)?.[0];
  if (stray === undefined) return;
  const option = stray.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new TacetError("bad_argument", `--${option} and --model exclude each other`, {
    hint: "a model has its own: --model NAME=URL#ADAPTER, or a JSON object with bundleDigest and providerKey",
  });
}

/** @throws TacetError bad_argument */
function checkOptions(options: ServeFlags): void {
  checkModels(options);
  const { base, host, apiKeyFile, corsOrigin = [] } = options;
  const adapters = [options.provider, options.model, options.adapter];
  if (base !== undefined && adapters.every((given) => given === undefined)) {
    throw new TacetError("bad_argument", "--base needs --provider, --model or --adapter here", {
      hint: "'tacet generate' and 'tacet chat' run a base model alone",
    });
  }
  if (!isLoopback(host) && apiKeyFile === undefined) {
    throw new TacetError("bad_argument", `serving on ${host} needs --api-key-file`, {
      hint: "everybody who reaches that address could use up your budget",
    });
  }
  for (const origin of corsOrigin) {
    if (
      URL.canParse(origin) &&
      (new URL(origin).origin === origin || /^[a-z][a-z0-9+.-]*:\/\/[^/]*$/.test(origin))
    )
      continue;
    throw new TacetError("bad_argument", "--cors-origin must be an origin", {
      hint: "as in https://app.example or http://localhost:3000, without a path",
    });
  }
}
