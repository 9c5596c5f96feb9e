/**
 * Serves the browser app and the base model's files to this machine. Answers GET and HEAD for a fixed list of paths
 * and only under the names of this machine, so that no other page can read through it (DNS rebinding).
 */
import { createReadStream } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname } from "node:path";
import { pipeline } from "node:stream";
import { listenOn } from "../shared/listen.ts";
import { foreignTo } from "../shared/own-name.ts";

/** Something that a path gives: a file on disk, or a text. */
export type Served = { readonly file: string; readonly size: number } | { readonly json: unknown };

export interface AppServerOptions {
  readonly host: string;
  readonly port: number;
  /** Path, without the leading "/", → what it gives; "" is the page. */
  readonly paths: ReadonlyMap<string, Served>;
  /** Origins that the page may connect to, besides its own. */
  readonly connectTo: readonly string[];
}

export interface AppServer {
  readonly url: string;
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".json": "application/json; charset=utf-8",
};

/**
 * What a browser may keep for good: its name changes with its content, and no policy hangs on it. A script is not among
 * these: a worker takes its policy from the headers that its script came with, and they name this run's providers.
 */
const NEVER_CHANGES = /^assets\/.*\.(wasm|css)$/;
/** Of what is kept: the same in every run. */
const KEPT_POLICY = "default-src 'none'; frame-ancestors 'none'";

/** @throws TacetError io_failed if the address cannot be listened on */
export async function serveApp({ host, port, paths, connectTo }: AppServerOptions): Promise<AppServer> {
  const headers = securityHeaders(connectTo);
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    answer(request, response, paths, foreignTo(request, { host }));
  });
  const url = await listenOn(server, host, port);
  return {
    url: `${url}/`,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Scripts of this origin only, no inline code, no other network than the provider, nobody may frame the page. */
function securityHeaders(connectTo: readonly string[]): Readonly<Record<string, string>> {
  const policy = [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    ["connect-src 'self'", ...connectTo].join(" "),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return {
    "content-security-policy": policy.join("; "),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  };
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  paths: AppServerOptions["paths"],
  foreign: ReturnType<typeof foreignTo>,
): void {
  const refuse = (status: number, text: string): void => {
    response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${text}\n`);
  };
  const path = pathOf(request.url ?? "/");
  const served = path === undefined ? undefined : paths.get(path);
  if (foreign !== undefined) {
    refuse(foreign === "host" ? 421 : 403, "this server answers for this machine only");
    return;
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    refuse(405, "GET and HEAD only");
    return;
  }
  if (path === undefined || served === undefined) {
    refuse(404, "there is no such file");
    return;
  }
  const type = TYPES[extname(path === "" ? "index.html" : path)] ?? "application/octet-stream";
  const cache = NEVER_CHANGES.test(path) ? "public, max-age=31536000, immutable" : "no-store";
  if (NEVER_CHANGES.test(path)) response.setHeader("content-security-policy", KEPT_POLICY);
  if ("json" in served) {
    const body = Buffer.from(JSON.stringify(served.json));
    response.writeHead(200, { "content-type": type, "cache-control": cache, "content-length": body.length });
    response.end(request.method === "HEAD" ? undefined : body);
    return;
  }
  response.writeHead(200, { "content-type": type, "cache-control": cache, "content-length": served.size });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  // A file that has become shorter, or a reader that goes away, ends the connection.
  pipeline(createReadStream(served.file, { end: Math.max(0, served.size - 1) }), response, () => {});
}

function pathOf(url: string): string | undefined {
  try {
    return decodeURIComponent(new URL(url, "http://localhost").pathname).slice(1);
  } catch {
    return undefined;
  }
}
