/** A function Request → Response on a port of this machine. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { listenOn } from "../shared/listen.ts";
import { foreignTo } from "../shared/own-name.ts";

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  /** Never rejects. */
  readonly handle: (request: Request) => Promise<Response>;
  /** A request that `handle` does not see: asked under another name (421), or malformed (400). */
  readonly onRefused?: (method: string, status: number) => void;
}

export interface HttpServer {
  readonly url: string;
  /** Takes no more connections; resolves when those that are open have ended, or after so many milliseconds. */
  close(graceMs: number): Promise<void>;
}

const LIMITS = {
  connections: 256,
  /** For a request's head, and for all of it. */
  headersMs: 20_000,
  requestMs: 60_000,
  /** A reader that takes nothing for so long is gone. */
  stallMs: 60_000,
};

const SWEEP_MS = 20;

/** @throws TacetError io_failed if the address cannot be listened on */
export async function serveHttp({ host, port, handle, onRefused }: HttpServerOptions): Promise<HttpServer> {
  const server = createServer(
    { headersTimeout: LIMITS.headersMs, requestTimeout: LIMITS.requestMs },
    (incoming, outgoing) => {
      const turnAway = (status: number, message: string): void => {
        onRefused?.(incoming.method ?? "", status);
        refuse(outgoing, status, message);
      };
      // Which pages may ask is the endpoint's to say (--cors-origin).
      if (foreignTo(incoming, { host }) !== "host") void answer(incoming, outgoing, handle, turnAway);
      else turnAway(421, "this endpoint answers for this machine only");
    },
  );
  server.maxConnections = LIMITS.connections;
  const url = await listenOn(server, host, port);
  return {
    url,
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Connections that are kept alive become idle one by one.
      const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(timer);
    },
  };
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  handle: HttpServerOptions["handle"],
  turnAway: (status: number, message: string) => void,
): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  outgoing.on("error", () => {});
  const request = requestOf(incoming, gone.signal);
  if (request === undefined) return turnAway(400, "the request is malformed");
  const response = await handle(request);
  response.headers.set("x-content-type-options", "nosniff");
  // What has not been read of a request is in the way of the next one.
  if (!incoming.complete) response.headers.set("connection", "close");
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const next = await reader?.read();
      if (next === undefined || next.done) break;
      if (!outgoing.write(next.value)) await drained(outgoing);
      if (outgoing.destroyed) break;
    }
    outgoing.end();
  } catch {
    outgoing.destroy();
  }
  await reader?.cancel().catch(() => {});
}

/** Undefined for a method or target that a Request cannot have. */
function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | undefined {
  const { method = "GET", headers, url = "/" } = incoming;
  const body = method === "GET" || method === "HEAD" ? null : Readable.toWeb(incoming);
  try {
    return new Request(new URL(url, "http://localhost"), {
      method,
      headers: Object.entries(headers).flatMap(([name, value = ""]): [string, string][] =>
        name.startsWith(":") ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]],
      ),
      signal,
      body,
      // What has been sent is answered only when it has been read.
      duplex: "half",
    } as RequestInit);
  } catch {
    return undefined;
  }
}

/** Waits until a reader has taken what was written; one that takes too long is cut off. */
function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => outgoing.destroy(), LIMITS.stallMs);
    const done = (): void => {
      clearTimeout(timer);
      outgoing.off("drain", done).off("close", done);
      resolve();
    };
    outgoing.once("drain", done).once("close", done);
    if (outgoing.destroyed) done();
  });
}

function refuse(outgoing: ServerResponse, status: number, message: string): void {
  const error = { message, type: "invalid_request_error", param: null, code: null };
  outgoing.writeHead(status, { "content-type": "application/json", connection: "close" });
  outgoing.end(JSON.stringify({ error }));
}
