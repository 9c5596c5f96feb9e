/**
 * No page of another machine reads through a server of ours that needs no key: every listener of the code is asked
 * with foreign Origin and Host headers, and with those of this machine.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type AppServer, serveApp } from "../../src/cli/web/app-server.ts";
import { startEndpoint, stopEndpoints } from "../support/endpoint-process.ts";
import { temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";
import { tinyBundle } from "../support/tiny-bundle.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const folder = temporaryFolder();
let state: string;
let provider: ProviderProcess;
let status: string;
let app: AppServer;
let endpoint: string;

beforeAll(async () => {
  state = join(folder.path, "state");
  mkdirSync(state);
  const made = await tinyBundle();
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
  const more = ["--allow-origin", "https://app.example", "--host-name", "Provider.example"];
  provider = await startProvider(state, { args: ["--metrics-port", "0", ...more] });
  status = /"url":"(http:[^"]+)"/.exec(provider.log())![1];
  const page = { json: {} };
  const paths = new Map([
    ["", page],
    ["settings.json", page],
  ]);
  app = await serveApp({ host: "127.0.0.1", port: 0, paths, connectTo: [] });
  endpoint = (await startEndpoint()).url;
}, 60_000);
afterAll(async () => {
  await app.close();
  await stopEndpoints();
  await stopProviders();
  folder.remove();
});

interface Asked {
  readonly origin?: string;
  readonly host?: string;
}

/** The status of a WebSocket handshake: 101 where it succeeds. */
function upgrade(url: string, { origin, host }: Asked): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { ...(origin !== undefined && { origin }), ...(host !== undefined && { host }) };
    const socket = new WebSocket(url, { headers });
    socket.on("open", () => {
      socket.terminate();
      resolve(101);
    });
    socket.on("unexpected-response", (_request, { statusCode = 0 }) => resolve(statusCode));
    socket.on("error", reject);
  });
}

/** The status of a GET, and the origin that may read what comes back. */
function get(url: string, { origin, host }: Asked): Promise<{ status: number; readable?: string }> {
  const headers = { ...(origin !== undefined && { origin }), ...(host !== undefined && { host }) };
  return new Promise((resolve, reject) => {
    request(url, { headers }, (response) => {
      const readable = response.headers["access-control-allow-origin"];
      response.resume();
      resolve({ status: response.statusCode ?? 0, ...(readable && { readable }) });
    })
      .on("error", reject)
      .end();
  });
}

const FOREIGN: readonly Asked[] = [
  { origin: "https://evil.example" },
  { origin: "http://localhost.evil.example" },
  { origin: "http://127.0.0.1.evil.example:8787" },
  { origin: "http://evil.example@localhost" },
  { origin: "http://192.0.2.1" },
  { origin: "null" },
  { origin: "file://" },
  { origin: "" },
  { origin: "http://localhost, https://evil.example" },
  { host: "evil.example" },
  { host: "localhost.evil.example:8787" },
  { host: "192.0.2.1" },
  { origin: "http://evil.example:8787", host: "evil.example:8787" },
];
const OWN: readonly Asked[] = [
  {},
  { host: "localhost:1" },
  { host: "[::1]:1" },
  { origin: "http://localhost:5173" },
  { origin: "http://127.0.0.1:1" },
  { origin: "https://[::1]:1" },
];

/** What serves in the code, by the name of its function, and how it is asked here. */
const LISTENERS: Readonly<Record<string, () => Promise<void>>> = {
  async serveSockets() {
    const plain = await startProvider(state);
    for (const { url } of [provider, plain]) {
      for (const asked of FOREIGN) expect([asked, await upgrade(url, asked)]).toEqual([asked, 403]);
      for (const asked of OWN) expect([asked, await upgrade(url, asked)]).toEqual([asked, 101]);
    }
    for (const asked of [{ origin: "https://app.example" }, { host: "provider.example:8787" }]) {
      expect(await upgrade(provider.url, asked)).toBe(101);
      expect(await upgrade(plain.url, asked)).toBe(403);
    }
    const metrics = await (await fetch(`${status}/metrics`)).text();
    expect(metrics).toContain(`tacet_rejected_connections_total{reason="foreign-page"} ${FOREIGN.length}`);
  },
  async serveStatus() {
    for (const path of ["/metrics", "/readyz", "/healthz"]) {
      for (const asked of FOREIGN) expect(await get(status + path, asked)).toEqual({ status: 403 });
      for (const asked of OWN) expect(await get(status + path, asked)).toEqual({ status: 200 });
    }
  },
  async serveApp() {
    for (const path of ["", "settings.json"]) {
      for (const asked of FOREIGN) {
        const { status, readable } = await get(app.url + path, asked);
        expect([403, 421]).toContain(status);
        expect(readable).toBeUndefined();
      }
      for (const asked of OWN) expect(await get(app.url + path, asked)).toEqual({ status: 200 });
    }
  },
  async serveHttp() {
    // Pages need --cors-origin here, those of this machine too.
    for (const asked of [...FOREIGN, { origin: "http://localhost:5173" }]) {
      const { status, readable } = await get(`${endpoint}/models`, asked);
      expect([403, 421]).toContain(status);
      expect(readable).toBeUndefined();
    }
    for (const asked of OWN.filter(({ origin }) => origin === undefined)) {
      expect(await get(`${endpoint}/models`, asked)).toEqual({ status: 200 });
    }
  },
};

describe("pages of other machines are refused, and this machine's are not, by", () => {
  it.each(Object.entries(LISTENERS))("%s", (_, check) => check(), 30_000);

  it("all that listens: there is nothing else in the code", () => {
    const source = join(ROOT, "src");
    const servers = readdirSync(source, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
      .map((path) => readFileSync(join(source, path), "utf8"))
      .filter((text) =>
        /\bcreate(Http|Https|Http2)?s?Server\(|\bnew (WebSocket)?Server\(|\bcreateSocket\(/.test(text),
      )
      .flatMap((text) =>
        [...text.matchAll(/^export (?:async )?function (serve\w+)/gm)].map(([, name]) => name),
      );
    expect(servers.sort()).toEqual(Object.keys(LISTENERS).sort());
  });
});

it("with keys, pages of any origin may connect, and must bring one", async () => {
  const tokens = join(folder.path, "tokens");
  writeFileSync(tokens, `${"k".repeat(32)}\n`);
  const keyed = await startProvider(state, { args: ["--token-file", tokens] });
  for (const asked of [...OWN, ...FOREIGN]) {
    expect(await upgrade(keyed.url, asked)).toBe(101);
  }
});
