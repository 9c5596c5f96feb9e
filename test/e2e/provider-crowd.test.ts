/**
 * Clients that do nothing, or do not read, do not stop others: thousands of idle connections (SLOW=1: 10,000), one
 * that asks and never reads, one that sends too much.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { packedBytes } from "../../src/ring/kernels.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import {
  decodeProviderFrame,
  encodeClientFrame,
  PROTOCOL_VERSION,
  type ProviderMessage,
} from "../../src/wire/frames.ts";
import { temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";
import { tallBundle } from "../support/tiny-bundle.ts";

const IDLE = process.env.SLOW ? 10_000 : 1_500;
const QUERY_BYTES = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
const MESSAGE_BYTES = 16 << 20;
const folder = temporaryFolder();
let provider: ProviderProcess;

beforeAll(async () => {
  const made = await tallBundle();
  const state = join(folder.path, "state");
  mkdirSync(state);
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
  const limits = ["--max-connections-per-address", "20000", "--max-buffered-bytes", String(16 << 20)];
  const more = ["--max-message-bytes", String(MESSAGE_BYTES), "--max-in-flight", "1000"];
  provider = await startProvider(state, { args: [...limits, ...more] });
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const hello = encodeClientFrame({
  case: "hello",
  value: { version: PROTOCOL_VERSION, baseFingerprint: new Uint8Array(32).fill(0x5a) },
});
const query = (keyId: Uint8Array) =>
  encodeClientFrame({
    case: "query",
    value: { id: 1, group: 0, vectors: 1, keyId, ciphertext: new Uint8Array(QUERY_BYTES) },
  });
const fetchKey = (id: number) => encodeClientFrame({ case: "fetchKey", value: { id } });
/** Keys of connections that have asked. */
const keys = new WeakMap<WebSocket, Uint8Array>();

async function greeted(): Promise<WebSocket> {
  const socket = new WebSocket(provider.url, { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const welcome = new Promise((resolve) => socket.once("message", resolve));
  socket.send(hello);
  await welcome;
  return socket;
}

/** The next message of one kind. */
function next(socket: WebSocket, name: "keyMade" | "keyPart" | "answer") {
  return new Promise<ProviderMessage>((resolve, reject) => {
    const take = (message: Buffer) => {
      const frame = decodeProviderFrame(new Uint8Array(message), 64 << 20);
      if (frame.case === "failure") reject(new Error(frame.value.message));
      if (frame.case !== name) return;
      socket.off("message", take);
      resolve(frame);
    };
    socket.on("message", take);
  });
}

async function answered(socket: WebSocket): Promise<void> {
  if (!keys.has(socket)) {
    const [made, part] = [next(socket, "keyMade"), next(socket, "keyPart")];
    socket.send(fetchKey(1));
    keys.set(socket, ((await made).value as { keyId: Uint8Array }).keyId.slice());
    await part;
  }
  const answer = next(socket, "answer");
  socket.send(query(keys.get(socket) as Uint8Array));
  await answer;
}

it(`answers others while ${IDLE} connections are idle`, { timeout: 120_000 }, async () => {
  const before = provider.memory();
  const idle: WebSocket[] = [];
  while (idle.length < IDLE) {
    const count = Math.min(100, IDLE - idle.length);
    idle.push(...(await Promise.all(Array.from({ length: count }, greeted))));
  }
  const each = (provider.memory() - before) / IDLE;
  console.log(`${IDLE} idle connections: ${(each / 1024).toFixed(1)} KiB each at the provider`);
  const other = await greeted();
  for (let i = 0; i < 20; i++) await answered(other);
  await answered(idle[0]);
  await answered(idle[IDLE - 1]);
  for (const socket of [...idle, other]) socket.terminate();
});

it("drops a client that asks for keys and does not read, and answers others meanwhile", {
  timeout: 90_000,
}, async () => {
  const other = await greeted();
  const deaf = (await greeted()) as WebSocket & { _socket: Socket };
  deaf._socket.pause();
  // Of the terminated ones before, 1006 with no refusal.
  const gone = () => /"type":"refused"[^}]*"code":"too_many_requests"/.test(provider.log());
  deaf.on("error", () => {});
  for (let id = 1; id <= 8; id++) deaf.send(fetchKey(id));
  // Some ten megabytes are on their way; no more is made for it meanwhile.
  while (!gone()) {
    await answered(other);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  await answered(other);
  other.terminate();
  deaf.terminate();
});

it("closes with 1009 for a frame that is too large, and answers others", async () => {
  const other = await greeted();
  const large = await greeted();
  const closed = new Promise((resolve) => large.on("close", resolve));
  large.on("error", () => {});
  large.send(new Uint8Array(MESSAGE_BYTES + 2));
  expect(await closed).toBe(1009);
  await answered(other);
  other.terminate();
});
