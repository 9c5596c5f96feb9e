/** `tacet provider` as a service: its status port, TLS with renewal, an orderly end. */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { packedBytes } from "../../src/ring/kernels.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import { decodeProviderFrame, encodeClientFrame, PROTOCOL_VERSION } from "../../src/wire/frames.ts";
import { temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";
import { tinyBundle } from "../support/tiny-bundle.ts";

const QUERY_BYTES = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
const TLS = fileURLToPath(new URL("../fixtures/tls/", import.meta.url));
const folder = temporaryFolder();
const state = join(folder.path, "state");

beforeAll(async () => {
  const made = await tinyBundle();
  mkdirSync(state);
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

async function until<T>(what: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await what();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const linesOf = (provider: ProviderProcess): Record<string, unknown>[] =>
  provider
    .log()
    .split("\n")
    .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line)] : []));
const statusOf = (provider: ProviderProcess) =>
  linesOf(provider).find(({ type }) => type === "status")?.url as string;

/** A client that has said Hello; `heard` are the kinds of messages that came. */
async function greet(url: string) {
  const socket = new WebSocket(url, { rejectUnauthorized: false });
  const heard: string[] = [];
  let keyId = new Uint8Array(0);
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  socket.on("message", (data: Buffer) => {
    const frame = decodeProviderFrame(new Uint8Array(data), 64 << 20);
    if (frame.case === "keyMade") keyId = frame.value.keyId.slice();
    heard.push(frame.case);
  });
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const hello = { version: PROTOCOL_VERSION, baseFingerprint: new Uint8Array(32).fill(0x5a) };
  socket.send(encodeClientFrame({ case: "hello", value: hello }));
  socket.send(encodeClientFrame({ case: "fetchKey", value: { id: 1 } }));
  // Welcome, KeyMade and a part for each group; what a test hears follows the Welcome.
  await until(() => heard[3]);
  heard.splice(1);
  const ask = (id: number, vectors: number) => {
    // More would be a message that is too long, which closes the connection.
    const ciphertext = new Uint8Array(Math.min(vectors, 240) * QUERY_BYTES);
    socket.send(encodeClientFrame({ case: "query", value: { id, group: 0, vectors, keyId, ciphertext } }));
  };
  return { socket, heard, closed, ask };
}

it("says how it is on a port of its own, and clients' port says only that it lives", async () => {
  const provider = await startProvider(state, { args: ["--metrics-port", "0"] });
  const status = statusOf(provider);
  const client = await greet(provider.url);
  client.ask(1, 3);
  client.ask(2, 241);
  await until(() => client.heard[2]);
  const get = async (path: string) => await (await fetch(status + path)).text();
  expect([await get("/healthz"), await get("/readyz")]).toEqual(["ok\n", "ready\n"]);
  const metrics = await get("/metrics");
  for (const line of [
    'tacet_queries_total{adapter="tiny"} 1',
    'tacet_vectors_total{adapter="tiny"} 3',
    'tacet_refusals_total{code="too_large"} 1',
    'tacet_refusals_total{code="worn_key"} 0',
    'tacet_keys_total{adapter="tiny"} 1',
    'tacet_keys_again_total{adapter="tiny"} 0',
    'tacet_keys_worn_total{adapter="tiny"} 0',
    "tacet_key_secrets 1",
    'tacet_answer_seconds_count{adapter="tiny"} 1',
    "tacet_connections 1",
    "tacet_in_flight_queries 0",
  ]) {
    expect(metrics).toContain(`${line}\n`);
  }
  expect(metrics).toMatch(/^process_resident_memory_bytes \d+$/m);
  client.ask(3, 237);
  client.ask(4, 1);
  await until(() => client.heard[4]);
  const later = await get("/metrics");
  for (const line of [
    'tacet_keys_worn_total{adapter="tiny"} 1',
    'tacet_refusals_total{code="worn_key"} 1',
    "tacet_key_secrets 0",
  ]) {
    expect(later).toContain(`${line}\n`);
  }
  const open = provider.url.replace("ws", "http");
  const codes = await Promise.all(
    ["/healthz", "/readyz", "/metrics"].map(async (path) => (await fetch(open + path)).status),
  );
  expect(codes).toEqual([200, 426, 426]);
  expect((await fetch(`${status}/other`)).status).toBe(404);
  expect((await fetch(`${status}/metrics`, { method: "POST" })).status).toBe(405);
  await provider.kill("SIGKILL");
});

it("at SIGTERM answers what is open, is not ready, tells its clients, ends with 0", async () => {
  const provider = await startProvider(state, { args: ["--metrics-port", "0"] });
  const status = statusOf(provider);
  const [busy, idle] = [await greet(provider.url), await greet(provider.url)];
  for (let id = 1; id <= 4; id++) busy.ask(id, 64);
  await until(() => busy.heard[1]);
  const ended = provider.kill("SIGTERM");
  await until(() => idle.heard[1]);
  expect(await idle.closed).toBe(1001);
  const ready = await fetch(`${status}/readyz`).catch(() => undefined);
  if (ready !== undefined) expect([ready.status, await ready.text()]).toEqual([503, "draining\n"]);
  await expect(greet(provider.url)).rejects.toThrow();
  expect(await busy.closed).toBe(1001);
  await ended;
  expect(busy.heard.at(-1)).toBe("goodbye");
  const stopped = linesOf(provider).find(({ type }) => type === "stopped");
  expect(stopped).toMatchObject({ queries: busy.heard.filter((name) => name === "answer").length });
  expect(provider.exitCode()).toBe(0);
}, 30_000);

it("serves wss, takes a renewed certificate without a restart and keeps the old one for a bad", async () => {
  const [cert, key] = [join(folder.path, "cert.pem"), join(folder.path, "key.pem")];
  const use = (name: string) => {
    copyFileSync(join(TLS, `${name}.cert.pem`), cert);
    copyFileSync(join(TLS, `${name}.key.pem`), key);
  };
  use("first");
  const provider = await startProvider(state, { args: ["--tls-cert", cert, "--tls-key", key] });
  expect(provider.url).toMatch(/^wss:/);
  const client = await greet(provider.url);
  client.ask(1, 1);
  await until(() => client.heard[1]);
  const peerName = () =>
    new Promise<string>((resolve, reject) => {
      const options = { port: provider.port, host: "127.0.0.1", rejectUnauthorized: false };
      const socket = connectTls(options, () => {
        resolve(String((socket.getPeerCertificate() as PeerCertificate).subject.CN));
        socket.destroy();
      }).on("error", reject);
    });
  expect(await peerName()).toBe("tacet test first");
  use("second");
  await until(async () => (await peerName()) === "tacet test second" || undefined);
  writeFileSync(key, "no key");
  await until(() => linesOf(provider).find(({ type, level }) => type === "certificate" && level === 50));
  expect(await peerName()).toBe("tacet test second");
  client.ask(2, 1);
  await until(() => client.heard[2]);
  const old = new Promise((_, reject) => {
    const options = { port: provider.port, host: "127.0.0.1", rejectUnauthorized: false };
    connectTls({ ...options, maxVersion: "TLSv1.1", minVersion: "TLSv1" }, () => {}).on("error", reject);
  });
  await expect(old).rejects.toThrow();
  expect(provider.log()).not.toContain("no key");
}, 30_000);
