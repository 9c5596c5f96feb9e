/**
 * An OpenAI-compatible endpoint as a function, Request → Response: /v1/models, /v1/chat/completions and
 * /v1/completions, as https://platform.openai.com/docs/api-reference has them. docs/openai.md says what is not
 * supported. Opens no port.
 * @module
 */

import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import { type AccessOptions, allowOrigin, checkKey, checkOrigin, preflight } from "./access.ts";
import { chunksOf, partsOf, wholeOf } from "./answer-bodies.ts";
import { ApiError, asApiError } from "./api-error.ts";
import { type GenerationRequest, parseChatRequest, parseCompletionRequest } from "./parse-request.ts";
import { readJson } from "./read-body.ts";
import { type AnswerHead, CHAT, COMPLETION, type Dialect, modelObject } from "./schema.ts";
import type { ServedModel } from "./served-model.ts";
import { eventStream } from "./sse.ts";

export { ServedModel, type ServedModelOptions } from "./served-model.ts";
export { Turns } from "./turns.ts";

export interface EndpointOptions extends AccessOptions {
  /** The first one is listed first. */
  readonly models: readonly ServedModel[];
  /** Largest body of a request. Default: 64 for each token of the longest context, at least 1 MiB. */
  readonly maxBodyBytes?: number;
  /** A failure that nobody expected; the client is told nothing of it. */
  readonly onFault?: (error: unknown) => void;
}

const OPTIONS: OptionTypes<EndpointOptions> = {
  models: "list",
  authorize: "function",
  corsOrigins: "list",
  maxBodyBytes: "number",
  onFault: "function",
};

const LEAST_BODY_LIMIT = 1 << 20;
const BODY_BYTES_PER_TOKEN = 64;

/** A path's method, and what it gives. */
interface Route {
  readonly method: "GET" | "POST";
  answer(request: Request): Promise<Response> | Response;
}

export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #maxBodyBytes: number;
  readonly #created = now();
  /** One for each request that is being answered. */
  readonly #open = new Set<AbortController>();
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
    try {
      checkOrigin(request, this.#options);
      const isPreflight = request.method === "OPTIONS" && request.headers.get("origin") !== null;
      response = isPreflight ? preflight(request) : await this.#answer(request);
    } catch (error) {
      response = this.#failure(error);
    }
    allowOrigin(request, response, this.#options);
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
    for (const controller of this.#open) controller.abort();
  }

  async #answer(request: Request): Promise<Response> {
    checkKey(request, this.#options);
    const { pathname } = new URL(request.url);
    const route = this.#routeOf(pathname);
    if (route === undefined) {
      throw new ApiError(404, { message: "there is no such path here", code: "unknown_url" });
    }
    if (request.method !== route.method) {
      const message = `this path takes ${route.method} only`;
      throw new ApiError(405, { message, code: "method_not_supported" }, { allow: route.method });
    }
    return await route.answer(request);
  }

  #routeOf(path: string): Route | undefined {
    switch (path) {
      case "/v1/models":
        return { method: "GET", answer: () => this.#listModels() };
      case "/v1/chat/completions":
        return { method: "POST", answer: (request) => this.#generate(request, CHAT, parseChatRequest) };
      case "/v1/completions":
        return {
          method: "POST",
          answer: (request) => this.#generate(request, COMPLETION, parseCompletionRequest),
        };
      default: {
        const name = /^\/v1\/models\/(.+)$/.exec(path)?.[1];
        return name === undefined
          ? undefined
          : {
              method: "GET",
              answer: () => json(modelObject(this.#modelNamed(decoded(name)), this.#created)),
            };
      }
    }
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
    request: Request,
    dialect: Dialect,
    parse: (body: unknown) => GenerationRequest,
  ): Promise<Response> {
    if (this.#stopping) throw new TacetError("shutting_down", "the endpoint is being stopped");
    const asked = parse(await readJson(request, this.#maxBodyBytes));
    const served = this.#modelNamed(asked.model);
    const head: AnswerHead = {
      id: dialect.idPrefix + randomName(),
      created: now(),
      model: served.id,
      fingerprint: served.fingerprint,
    };
    const controller = this.#begin(request);
    const parts = closing(partsOf(served, asked, controller.signal), () => this.#end(controller));
    if (!asked.stream) return json(await wholeOf(dialect, head, parts));
    // What fails before the first text has a status of its own.
    const first = await parts.next();
    if (first.done) throw new TypeError("an answer has an end");
    const chunks = chunksOf(dialect, head, first.value, parts, asked.includeUsage);
    const stream = eventStream(this.#reporting(chunks), () => controller.abort());
    return new Response(stream, {
      headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
    });
  }

  /** Aborted when the client goes away, or the endpoint is stopped. */
  #begin({ signal }: Request): AbortController {
    const controller = new AbortController();
    this.#open.add(controller);
    signal.addEventListener("abort", () => controller.abort(), { once: true });
    if (signal.aborted) controller.abort();
    return controller;
  }

  #end(controller: AbortController): void {
    this.#open.delete(controller);
    if (this.#open.size === 0) this.#allAnswered();
  }

  async *#reporting(chunks: AsyncIterable<object>): AsyncGenerator<object, void, void> {
    try {
      yield* chunks;
    } catch (error) {
      this.#report(error);
      throw error;
    }
  }

  #failure(error: unknown): Response {
    this.#report(error);
    const { status, body, headers } = asApiError(error);
    return json({ error: body }, status, headers);
  }

  #report(error: unknown): void {
    if (!(error instanceof ApiError) && !(error instanceof TacetError)) this.#options.onFault?.(error);
  }
}

/** Runs `close` when the generator has ended, however it ends. */
async function* closing<T>(
  inner: AsyncGenerator<T, void, void>,
  close: () => void,
): AsyncGenerator<T, void, void> {
  try {
    yield* inner;
  } finally {
    close();
  }
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
