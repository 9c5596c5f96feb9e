/** Requests to the hub: redirects by hand, so that the token stays with the hub; errors in words. */

import { TacetError } from "../../../base/errors.ts";
import { type HubSettings, mayCarryToken } from "./settings.ts";

const MAX_REDIRECTS = 5;
/** Without an answer, or without more bytes, for this long, a connection counts as lost. */
export const SILENCE_MS = 30_000;

/** A failure that may pass: the request is worth another try. */
export class PassingFailure extends Error {
  /** What the server asked for, in ms. */
  readonly waitMs: number | undefined;
  /** The host was not reached at all. */
  readonly unreachable: boolean;

  constructor(
    message: string,
    { waitMs, unreachable = false }: { waitMs?: number; unreachable?: boolean } = {},
  ) {
    super(message);
    this.waitMs = waitMs;
    this.unreachable = unreachable;
  }
}

export interface HubResponse {
  readonly response: Response;
  /** X-Linked-Etag or ETag as the hub itself gave it, without quotation marks. */
  readonly etag: string | undefined;
}

/**
 * GET, with redirects followed. The token goes to the endpoint's own origin only.
 *
 * @param what for messages: never the address, which may be signed
 * @throws PassingFailure, TacetError io_failed
 */
export async function hubGet(
  url: string,
  what: string,
  settings: HubSettings,
  {
    headers = {},
    signal,
  }: { headers?: Readonly<Record<string, string>>; signal?: AbortSignal | undefined } = {},
): Promise<HubResponse> {
  const origin = new URL(settings.endpoint).origin;
  let target = new URL(url);
  let etag: string | undefined;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const own = target.origin === origin;
    const authorize = own && settings.token !== undefined && mayCarryToken(target);
    const response = await send(target, signal, {
      ...headers,
      // Sizes and ranges are those of the file itself.
      "accept-encoding": "identity",
      "user-agent": "tacet",
      ...(authorize ? { authorization: `Bearer ${settings.token}` } : {}),
    });
    if (own) etag = etagOf(response) ?? etag;
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) {
      if (response.ok) return { response, etag };
      await response.body?.cancel();
      throw failureOf(response, target, what, settings);
    }
    await response.body?.cancel();
    const next = URL.canParse(location, target.href) ? new URL(location, target.href) : undefined;
    const safe = next !== undefined && (next.protocol === "https:" || next.protocol === target.protocol);
    if (!safe || !/^https?:$/.test(next.protocol))
      throw new TacetError("io_failed", `${target.host} redirects ${what} to an address that is not safe`);
    target = next;
  }
  throw new TacetError("io_failed", `${target.host} redirects ${what} without end`);
}

async function send(
  url: URL,
  signal: AbortSignal | undefined,
  headers: Record<string, string>,
): Promise<Response> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const signals = signal === undefined ? [silence.signal] : [silence.signal, signal];
  try {
    return await fetch(url, { headers, redirect: "manual", signal: AbortSignal.any(signals) });
  } catch (error) {
    signal?.throwIfAborted();
    const reason = String((error as { cause?: { code?: unknown } }).cause?.code ?? "");
    throw new PassingFailure(`${url.host} does not answer${reason === "" ? "" : ` (${reason})`}`, {
      unreachable: /^(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)$/.test(reason),
    });
  } finally {
    // The body has a separate clock.
    clearTimeout(timer);
  }
}

function etagOf({ headers }: Response): string | undefined {
  return (headers.get("x-linked-etag") ?? headers.get("etag"))?.replace(/^W\//, "").replaceAll('"', "");
}

function failureOf({ status, headers }: Response, { host }: URL, what: string, settings: HubSettings): Error {
  if (status === 429 || status === 408 || status >= 500) {
    const seconds = Number(headers.get("retry-after") ?? Number.NaN);
    return new PassingFailure(
      `${host} answers ${status}`,
      seconds >= 0 ? { waitMs: Math.min(1000 * seconds, 120_000) } : {},
    );
  }
  const kind = headers.get("x-error-code");
  if (status === 401 || status === 403) {
    const gated = kind === "GatedRepo";
    const withToken = settings.token === undefined ? "" : " to this token";
    return new TacetError("io_failed", `${host} refuses ${what}${withToken} (${status})`, {
      hint: gated
        ? "the model is gated: accept its terms on its page, and set HF_TOKEN to a token of that account"
        : "check the id; a private or gated model needs HF_TOKEN",
    });
  }
  if (status === 404) {
    const missing = kind === "RevisionNotFound" ? "no such revision: " : "there is no ";
    return new TacetError("io_failed", `${host}: ${missing}${what} (404)`, {
      hint: "check the id and the revision; for a folder on this machine, check its path",
    });
  }
  return new TacetError("io_failed", `${host} answers ${status} for ${what}`);
}

export interface RetryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Wait before the second try, doubled each time (default 500). */
  readonly retryMs?: number | undefined;
  /** Tries in all (default 6), 3 where the host is not reached. */
  readonly tries?: number | undefined;
}

/**
 * Runs work again after passing failures, waiting longer each time, or as long as the server asks.
 * @param progress a number that grows when work got somewhere: the count of tries then begins again
 * @throws TacetError connection_failed if the host was not reached, io_failed if it failed otherwise
 */
export async function withRetries<T>(
  what: string,
  work: () => Promise<T>,
  { signal, retryMs = 500, tries = 6 }: RetryOptions,
  progress: () => number = () => 0,
): Promise<T> {
  let failed = 0;
  let reached = progress();
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      if (progress() > reached) failed = 0;
      reached = progress();
      failed++;
      if (failed >= (error.unreachable ? Math.min(3, tries) : tries)) {
        throw new TacetError(
          error.unreachable ? "connection_failed" : "io_failed",
          `${what} cannot be fetched: ${error.message}, after ${failed} tries`,
          {
            hint: "what has come so far is kept; without a network give a folder, or set HF_ENDPOINT to a hub that can be reached",
          },
        );
      }
      const backoff = retryMs * 2 ** (failed - 1);
      await pause(error.waitMs ?? backoff * (1 + Math.random() / 4), signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
