/**
 * An OpenAI-compatible endpoint as a function, Request → Response: /v1/models, /v1/chat/completions,
 * /v1/completions and /health, as https://platform.openai.com/docs/api-reference has them. docs/openai.md says what is not
 * supported. Opens no port.
 * @module
 */

import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import { type AccessOptions, allowOrigin, checkKey, checkOrigin, preflight } from "./access.ts";
import { chunksOf, answerPartsOf, wholeOf } from "./answer-bodies.ts";
import { ApiError, asApiError } from "./api-error.ts";
import { type GenerationRequest, parseChatRequest, parseCompletionRequest } from "./parse-request.ts";
import { readJson } from "./read-body.ts";
import { OpenRequest, type RequestEntry } from "./request-log.ts";
import { type AnswerHead, type AnswerPart, CHAT, COMPLETION, type Dialect, modelObject } from "./schema.ts";
import type { ServedModel } from "./served-model.ts";
import { eventStream } from "./sse.ts";

export { FairSemaphore } from "../base/fair-semaphore.ts";
export { ContextPool } from "./context-pool.ts";
export { OpenRequest, type RequestEntry } from "./request-log.ts";
export { ServedModel, type ServedModelOptions } from "./served-model.ts";

export interface EndpointOptions extends AccessOptions {
  /** The first one is listed first. */
  readonly models: readonly ServedModel[];
  /** Largest body of a request. Default: 64 for each token of the longest context, at least 1 MiB. */
  readonly maxBodyBytes?: number;
  /** A failure that nobody expected; the client is told nothing of it. */
  readonly onFault?: (error: unknown) => void;
  /** Called when a request has been answered, for a log. */
  readonly onRequest?: (entry: RequestEntry) => void;
}

const OPTIONS: OptionTypes<EndpointOptions> = {
  models: "list",
  authorize: "function",
  corsOrigins: "list",
  maxBodyBytes: "number",
  onFault: "function",
  onRequest: "function",
};

const LEAST_BODY_LIMIT = 1 << 20;
const BODY_BYTES_PER_TOKEN = 64;

/** A path's method, and what it gives. */
interface Route {
  /** As logs have it. */
  readonly path: string;
  readonly method: "GET" | "POST";
  readonly needsKey?: false;
  answer(asked: AskedRequest): Promise<Response> | Response;
}

interface AskedRequest {
  readonly request: Request;
  /** Name of the API key. */
  readonly owner: string;
  readonly open: OpenRequest;
}

export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #maxBodyBytes: number;
  readonly #created = now();
  /**
   * One for each request that is being answered. The request is kept with it: its signal follows the one that it was made
   * with only as long as the request itself is not garbage (Node's Request holds on to it weakly).
   */
  readonly #open = new Map<AbortController, Request>();
  #stopping = false;
  #allAnswered = (): void => {};

  /** @throws TacetError bad_argument for options that do not exist or are missing */
  constructor(options: EndpointOptions) {
    checkOptions(options, OPTIONS, {
      of: "an endpoint",
      required: { models: "[await ServedModel.open(…)]" },
    });
    this.#options = options;
    const longest = Math.max(0, ...options.models.map(({ contextLength }) => contextLength));
    this.#maxBodyBytes = options.maxBodyBytes ?? Math.max(LEAST_BODY_LIMIT, BODY_BYTES_PER_TOKEN * longest);
  }

  /** Never rejects. */
  async handle(request: Request): Promise<Response> {
    let response: Response;
    const open = new OpenRequest(request.method, (entry) => this.#options.onRequest?.(entry));
    try {
      checkOrigin(request, this.#options);
      const isPreflight = request.method === "OPTIONS" && request.headers.get("origin") !== null;
      response = isPreflight ? preflight(request) : await this.#answer(request, open);
    } catch (error) {
      response = this.#failure(error, open);
    }
    allowOrigin(request, response, this.#options);
    // A streamed answer goes on.
    if (!isStream(response)) open.end(response.status);
    return response;
  }

  /** Answers what has been begun, for at most this long, and refuses the rest. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#allAnswered = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    for (const controller of this.#open.keys()) controller.abort();
  }

  async #answer(request: Request, open: OpenRequest): Promise<Response> {
    const { pathname } = new URL(request.url);
    const route = this.#routeOf(pathname);
    if (route !== undefined) open.add({ path: route.path });
    const owner = route?.needsKey === false ? "" : checkKey(request, this.#options);
    if (owner !== "") open.add({ key: owner });
    if (route === undefined) {
      throw new ApiError(404, { message: "there is no such path here", code: "unknown_url" });
    }
    if (request.method !== route.method) {
      const message = `this path takes ${route.method} only`;
      throw new ApiError(405, { message, code: "method_not_supported" }, { allow: route.method });
    }
    return await route.answer({ request, owner, open });
  }

  #routeOf(path: string): Route | undefined {
    switch (path) {
      case "/health":
      case "/healthz":
        return { path, method: "GET", needsKey: false, answer: () => this.#health() };
      case "/v1/models":
        return { path, method: "GET", answer: () => this.#listModels() };
      case "/v1/chat/completions":
        return { path, method: "POST", answer: (asked) => this.#generate(asked, CHAT, parseChatRequest) };
      case "/v1/completions":
        return {
          path,
          method: "POST",
          answer: (asked) => this.#generate(asked, COMPLETION, parseCompletionRequest),
        };
      default: {
        const name = /^\/v1\/models\/(.+)$/.exec(path)?.[1];
        return name === undefined
          ? undefined
          : {
              path: "/v1/models/{model}",
              method: "GET",
              answer: () => json(modelObject(this.#modelNamed(decoded(name)), this.#created)),
            };
      }
    }
  }

  /** Whether requests are taken; whether a provider answers is seen with the next one. */
  #health(): Response {
    return this.#stopping ? json({ status: "stopping" }, 503) : json({ status: "ok" });
  }

  #listModels(): Response {
    const data = this.#options.models.map((model) => modelObject(model, this.#created));
    return json({ object: "list", data });
  }

  /** @throws ApiError 404: another model never answers in its place */
  #modelNamed(name: string): ServedModel {
    const model = this.#options.models.find(({ id }) => id === name);
    if (model !== undefined) return model;
    const names = this.#options.models.map(({ id }) => id).join(", ");
    throw new ApiError(404, {
      message: `there is no such model here; there is: ${names}`,
      param: "model",
      code: "model_not_found",
    });
  }

  async #generate(
    { request, owner, open }: AskedRequest,
    dialect: Dialect,
    parse: (body: unknown) => GenerationRequest,
  ): Promise<Response> {
    if (this.#stopping) throw new TacetError("shutting_down", "the endpoint is being stopped");
    const asked = parse(await readJson(request, this.#maxBodyBytes));
    const served = this.#modelNamed(asked.model);
    open.add({ model: served.id, stream: asked.stream });
    const head: AnswerHead = {
      id: dialect.idPrefix + randomName(),
      created: now(),
      model: served.id,
      fingerprint: served.fingerprint,
    };
    const controller = this.#begin(request, open);
    const parts = counting(answerPartsOf(served, asked, owner, controller.signal), open, () =>
      this.#end(controller),
    );
    if (!asked.stream) return json(await wholeOf(dialect, head, parts));
    // What fails before the first text has a separate status.
    const first = await parts.next();
    if (first.done) throw new TypeError("an answer has an end");
    const chunks = chunksOf(dialect, head, first.value, parts, asked.includeUsage);
    const stream = eventStream(this.#reporting(chunks, open), () => {
      open.fail("broken_off");
      controller.abort();
    });
    return new Response(stream, {
      headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
    });
  }

  /** Aborted when the client goes away, or the endpoint is stopped. */
  #begin(request: Request, open: OpenRequest): AbortController {
    const controller = new AbortController();
    this.#open.set(controller, request);
    const { signal } = request;
    const leave = (): void => {
      open.fail("broken_off");
      controller.abort();
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    return controller;
  }

  #end(controller: AbortController): void {
    this.#open.delete(controller);
    if (this.#open.size === 0) this.#allAnswered();
  }

  async *#reporting(chunks: AsyncIterable<object>, open: OpenRequest): AsyncGenerator<object, void, void> {
    try {
      yield* chunks;
    } catch (error) {
      this.#failure(error, open);
      throw error;
    } finally {
      open.end(200);
    }
  }

  #failure(error: unknown, open: OpenRequest): Response {
    this.#report(error);
    const { status, body, headers } = asApiError(error);
    open.fail(body.code ?? body.type);
    return json({ error: body }, status, headers);
  }

  #report(error: unknown): void {
    if (!(error instanceof ApiError) && !(error instanceof TacetError)) this.#options.onFault?.(error);
  }
}

/** Counts the answer's tokens, and runs `close` when the generator has ended, however it ends. */
async function* counting(
  parts: AsyncGenerator<AnswerPart, void, void>,
  open: OpenRequest,
  close: () => void,
): AsyncGenerator<AnswerPart, void, void> {
  try {
    for await (const part of parts) {
      if (part.end !== undefined) open.count(part.end);
      yield part;
    }
  } finally {
    close();
  }
}

function isStream(response: Response): boolean {
  return response.headers.get("content-type")?.startsWith("text/event-stream") === true;
}

function json(body: object, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { ...headers, "content-type": "application/json", "cache-control": "no-store" },
  });
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
