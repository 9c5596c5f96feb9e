/** /healthz, /readyz and /metrics on a separate port, which clients do not reach. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { TacetError } from "../../base/errors.ts";
import { errnoOf } from "../../platform/node.ts";
import { isLoopback } from "../shared/loopback.ts";
import { foreignTo } from "../shared/own-name.ts";
import type { ProviderMetrics } from "./metrics.ts";

/** A store that does not answer for so long is not reachable. */
const CHECK_MS = 2_000;

/** What keeps a provider from being ready. */
export class Readiness {
  /** Undefined: nothing. */
  reason: string | undefined = "loading";
  /** Throws if what queries need can't be reached. */
  check: () => void | Promise<void> = () => {};

  /** Undefined: ready. */
  async whyNot(): Promise<string | undefined> {
    if (this.reason !== undefined) return this.reason;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("late")), CHECK_MS);
    });
    try {
      await Promise.race([this.check(), late]);
      return undefined;
    } catch {
      return "the store can't be reached";
    } finally {
      clearTimeout(timer);
    }
  }
}

export interface StatusServer {
  readonly url: string;
  close(): void;
}

/** @throws TacetError io_failed */
export async function serveStatus(
  { host, port }: { readonly host: string; readonly port: number },
  readiness: Readiness,
  metrics: ProviderMetrics,
): Promise<StatusServer> {
  const answer = async (path: string, response: ServerResponse) => {
    if (path === "/healthz") return plain(response, 200, "ok\n");
    if (path === "/metrics") {
      const text = await metrics.text();
      response.writeHead(200, { "content-type": metrics.contentType }).end(text);
      return;
    }
    if (path !== "/readyz") return plain(response, 404, "there are /healthz, /readyz and /metrics\n");
    const reason = await readiness.whyNot();
    plain(response, reason === undefined ? 200 : 503, `${reason ?? "ready"}\n`);
  };
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    // On other addresses it is asked under names that we do not know, and whoever reaches them reads it anyway.
    const foreign = foreignTo(request, { host });
    if (foreign === "origin" || (foreign === "host" && isLoopback(host))) {
      return plain(response, 403, "not for pages of other machines\n");
    }
    if (request.method !== "GET" && request.method !== "HEAD") return plain(response, 405, "GET only\n");
    answer((request.url ?? "").split("?")[0], response).catch(() => plain(response, 500, "failed\n"));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      const what = `the metrics port can't be opened on ${host}:${port} (${errnoOf(cause)})`;
      reject(new TacetError("io_failed", what, { hint: "choose another with --metrics-port", cause }));
    });
    server.listen(port, host, resolve);
  });
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function plain(response: ServerResponse, status: number, text: string): void {
  if (!response.headersSent) response.writeHead(status, { "content-type": "text/plain" });
  response.end(text);
}
