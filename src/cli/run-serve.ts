/** `tacet serve`: an OpenAI-compatible endpoint on this machine, until it is told to stop. */

import { toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { Endpoint, ServedModel, Turns } from "../openai/routes.ts";
import { startEmbeddedProvider } from "./embedded-provider.ts";
import { untilStopped } from "./interrupt.ts";
import { isLoopback } from "./loopback.ts";
import { describeFailure } from "./report-error.ts";
import { serveHttp } from "./serve/http-server.ts";
import {
  checkSource,
  type OpenedModel,
  openBase,
  openLocal,
  openRemote,
  type SourceOptions,
} from "./source.ts";
import { print, warn } from "./terminal.ts";
import { readTokens, tokenCheck } from "./token.ts";

export interface ServeOptions extends SourceOptions {
  readonly host: string;
  readonly port: number;
  readonly apiKeyFile?: string;
  readonly corsOrigin?: readonly string[];
  readonly serveBase?: boolean;
  readonly parallel: number;
  readonly queue: number;
  readonly contexts: number;
}

/** What the base model alone is called. */
const BASE_NAME = "base";
/** What is being answered may end within this; the process gives all of its stopping 3 s (interrupt.ts). */
const GRACE_MS = 1_500;
const CLOSE_MS = 500;

export async function runServe(options: ServeOptions, signal: AbortSignal): Promise<void> {
  checkOptions(options);
  const keys = options.apiKeyFile === undefined ? undefined : await readTokens(options.apiKeyFile);
  const own = options.provider === undefined ? await startEmbeddedProvider(signal) : undefined;
  const opened: OpenedModel[] = [];
  try {
    const source = own === undefined ? options : { ...options, provider: [own.url] };
    const models = await openModels(source, signal, opened);
    const endpoint = new Endpoint({
      models,
      ...(keys === undefined ? {} : { authorize: tokenCheck(keys) }),
      corsOrigins: options.corsOrigin ?? [],
      onFault: (error) => warn(describeFailure(error).message),
    });
    const { host, port } = options;
    const server = await serveHttp({ host, port, handle: (request) => endpoint.handle(request) });
    if (!isLoopback(host)) warn("keys, prompts and answers travel in clear on the way to this endpoint");
    print(`listening on ${server.url}/v1 (${models.map(({ id }) => id).join(", ")})`);
    await untilStopped(signal);
    const closed = server.close(GRACE_MS + CLOSE_MS);
    await endpoint.stop(GRACE_MS);
    await closed;
    for (const model of models) model.dispose();
  } finally {
    await Promise.all(opened.map((model) => model.close()));
    await own?.stop();
  }
}

/** @throws TacetError bad_argument */
function checkOptions(options: ServeOptions): void {
  checkSource(options);
  const { base, provider, host, apiKeyFile, corsOrigin = [] } = options;
  if (base !== undefined && provider === undefined) {
    throw new TacetError("bad_argument", "--base needs --provider here", {
      hint: "the endpoint asks a provider; 'tacet generate' and 'tacet chat' run a base model alone",
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

/** The adapter under its name, and the base alone where it was asked for. */
async function openModels(
  options: ServeOptions & SourceOptions,
  signal: AbortSignal,
  opened: OpenedModel[],
): Promise<ServedModel[]> {
  const { contexts } = options;
  const answers = new Turns(options.parallel, options.queue);
  const checkpoint = await openBase(options, signal);
  const remote = await openRemote(checkpoint, options, signal);
  opened.push(remote);
  const { bundle, model } = remote.remote!;
  const id = bundle.manifest.adapter;
  const fingerprint = `fp_${toHex(bundle.digest).slice(0, 12)}`;
  const shared = { checkpoint: remote.checkpoint, answers, contexts };
  const models = [await ServedModel.open({ ...shared, id, model, fingerprint, ownedBy: "provider" })];
  if (options.serveBase) {
    if (id === BASE_NAME) {
      throw new TacetError("bad_argument", `--serve-base: the adapter itself is called ${BASE_NAME}`);
    }
    const base = await openLocal(checkpoint, options, signal);
    opened.push(base);
    models.push(
      await ServedModel.open({ ...shared, checkpoint, id: BASE_NAME, model: base.model, ownedBy: "local" }),
    );
  }
  return models;
}
