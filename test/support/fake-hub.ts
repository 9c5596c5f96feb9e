/** A hub on this machine: lists repositories, and sends large files to a second server, as the real one does. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";
/** Files of this size and more are on the second server. */
const LARGE = 1000;

export interface SeenRequest {
  readonly server: "hub" | "cdn";
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** Answers in place of the server, or lets it answer (false). */
export type Fault = (request: SeenRequest, response: ServerResponse, bytes?: Uint8Array) => boolean;

export interface FakeHub {
  readonly endpoint: string;
  readonly seen: SeenRequest[];
  files: Record<string, Uint8Array>;
  /** Changes of the listing. */
  siblings: (list: Record<string, unknown>[]) => unknown;
  fault: Fault;
  close(): Promise<void>;
}

export const digestOf = (bytes: Uint8Array): string =>
  bytes.length >= LARGE
    ? createHash("sha256").update(bytes).digest("hex")
    : createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

export async function startFakeHub(repo: string, files: Record<string, Uint8Array>): Promise<FakeHub> {
  const hub: FakeHub = {
    endpoint: "",
    seen: [],
    files,
    siblings: (list) => list,
    fault: () => false,
    close: async () => {
      for (const server of [front, cdn]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
  const cdn = await listen((request, response) => {
    const name = decodeURIComponent(new URL(request.url ?? "", "http://x").pathname.slice(1));
    serve("cdn", request, response, hub.files[name]);
  });
  const front = await listen((request, response) => {
    const { pathname } = new URL(request.url ?? "", "http://x");
    if (pathname.startsWith(`/api/models/${repo}/revision/`)) {
      if (hub.fault(note("hub", request), response)) return;
      const list = Object.entries(hub.files).map(([rfilename, bytes]) => ({
        rfilename,
        size: bytes.length,
        blobId: bytes.length >= LARGE ? "f".repeat(40) : digestOf(bytes),
        ...(bytes.length >= LARGE ? { lfs: { sha256: digestOf(bytes), size: bytes.length } } : {}),
      }));
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ sha: COMMIT, siblings: hub.siblings(list) }));
      return;
    }
    const prefix = `/${repo}/resolve/${COMMIT}/`;
    const name = decodeURIComponent(pathname.slice(prefix.length));
    const bytes = pathname.startsWith(prefix) ? hub.files[name] : undefined;
    if (bytes !== undefined && bytes.length >= LARGE) {
      if (hub.fault(note("hub", request), response, bytes)) return;
      response.writeHead(302, {
        location: `http://127.0.0.1:${(cdn.address() as AddressInfo).port}/${name}?Signature=secret`,
        "x-linked-etag": `"${digestOf(bytes)}"`,
        "x-repo-commit": COMMIT,
      });
      response.end();
      return;
    }
    serve("hub", request, response, bytes);
  });

  function note(server: "hub" | "cdn", { url = "", headers }: IncomingMessage): SeenRequest {
    const seen = { server, path: url, range: headers.range, authorization: headers.authorization };
    hub.seen.push(seen);
    return seen;
  }

  function serve(
    server: "hub" | "cdn",
    request: IncomingMessage,
    response: ServerResponse,
    bytes?: Uint8Array,
  ) {
    if (hub.fault(note(server, request), response, bytes)) return;
    if (bytes === undefined) {
      response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
      return;
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    if (server === "hub") response.setHeader("etag", `"${digestOf(bytes)}"`);
    else response.setHeader("etag", '"an-etag-of-the-store"');
    if (from > 0) {
      response.statusCode = 206;
      response.setHeader("content-range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    }
    response.setHeader("content-length", bytes.length - from);
    response.end(bytes.subarray(from));
  }

  (hub as { endpoint: string }).endpoint = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  return hub;
}

async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Server> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
