/** Requests that no budget pays for, and keys that end, at a provider without a socket. */
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { type MemorySocket, memorySockets, settle } from "../../test/support/memory-socket.ts";
import { hello, say } from "../../test/support/provider-client.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { ERROR_KINDS } from "../base/errors.ts";
import { packedBytes } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { type ClientMessageInit, decodeProviderFrame } from "../wire/frames.ts";
import { createApiKey, type NewKey } from "./api-keys.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import { loadServedAdapter, Provider, type ServedAdapter } from "./provider.ts";

const QUERY_BYTES = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
const DAY = 86_400_000;
const { too_many_requests, unauthorized, bad_query } = ERROR_KINDS;
let served: ServedAdapter;
/** The account's key of the private layer. */
let keyId: Uint8Array;

beforeAll(async () => {
  const made = await tinyBundle();
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  served = await loadServedAdapter(memoryFileTree(files, "state"));
});
afterEach(() => {
  vi.useRealTimers();
});

async function start(change: Partial<NewKey> = {}) {
  const store = new EmbeddedStore(memoryJournal(), []);
  const { key, record } = createApiKey({ budget: null, ...change }, Date.now(), systemRandom);
  store.setKeys([record]);
  keyId = await store.allocateKey(record.account);
  const provider = new Provider([served], { store });
  const open = async () => {
    const [client, server] = memorySockets();
    provider.accept(server);
    say(client, hello({ token: key }));
    await settle();
    return client;
  };
  return { provider, store, record, open };
}

const query = (id: number, change: Record<string, unknown> = {}): NonNullable<ClientMessageInit> => ({
  case: "query",
  value: { id, group: 0, vectors: 1, ciphertext: new Uint8Array(QUERY_BYTES).fill(7), keyId, ...change },
});
const short = { ciphertext: new Uint8Array(4) };
const codes = (socket: MemorySocket) =>
  socket.received
    .map((bytes) => decodeProviderFrame(bytes, 64 << 20))
    .flatMap((frame) => (frame.case === "failure" ? [[frame.value.code, frame.value.queryId]] : []));
const count = (socket: MemorySocket, name: string) =>
  socket.received.filter((bytes) => decodeProviderFrame(bytes, 64 << 20).case === name).length;

describe("requests that no budget pays for", () => {
  it("close a connection when too many queries of it were refused", async () => {
    const { open, provider } = await start();
    const client = await open();
    for (let id = 1; id <= 1000; id++) say(client, query(id, short));
    await settle();
    const told = codes(client);
    expect(told.slice(0, 2)).toEqual([
      [bad_query.wire, 1],
      [bad_query.wire, 2],
    ]);
    expect(told.at(-1)).toEqual([too_many_requests.wire, 0]);
    expect(told.length).toBeLessThan(300);
    expect(client.closed?.code).toBe(1008);
    expect(provider.openConnections).toBe(0);
  });

  it("are held against a key over all its connections, and not against others", async () => {
    const { open, store, record, provider } = await start();
    let told = 0;
    for (let i = 0; i < 40; i++) {
      const client = await open();
      for (let id = 1; id <= 300; id++) say(client, query(id, short));
      await settle();
      told += codes(client).length;
    }
    expect(told).toBeLessThan(6000);
    const other = createApiKey({ budget: null }, Date.now(), systemRandom);
    store.setKeys([record, other.record]);
    const [calm, server] = memorySockets();
    provider.accept(server);
    const ownKey = await store.allocateKey(other.record.account);
    say(calm, hello({ token: other.key }), query(1, { keyId: ownKey }));
    await settle();
    expect(count(calm, "answer")).toBe(1);
  });

  it("are repeats of a query that was paid for, and bundles, too", async () => {
    const { open } = await start();
    const client = await open();
    for (let id = 1; id <= 1000; id++) {
      say(client, query(id));
      if (id % 50 === 0) await settle(2);
    }
    await settle();
    expect(count(client, "answer")).toBeLessThan(300);
    expect(client.closed?.code).toBe(1008);
    const greedy = await open();
    for (let i = 0; i < 100; i++) {
      say(greedy, { case: "fetchBundle", value: {} });
      await settle(2);
    }
    expect(count(greedy, "bundlePart")).toBeLessThan(40);
    expect(greedy.closed?.code).toBe(1008);
  });

  it("cost a key its rate before they are decoded: a message is closed on that would be refused anyhow", async () => {
    const { open } = await start({ vectorsPerSecond: 4 });
    const client = await open();
    for (let id = 1; id <= 140; id++) say(client, query(id, short));
    await settle();
    expect(codes(client).at(-1)).toEqual([too_many_requests.wire, 0]);
    expect(codes(client).length).toBeLessThan(130);
  });

  it("are not the failures of the provider itself", async () => {
    const { open, store } = await start();
    store.reserve = () => {
      throw new Error("disk");
    };
    const client = await open();
    for (let id = 1; id <= 500; id++) {
      say(client, query(id));
      if (id % 50 === 0) await settle(2);
    }
    expect(codes(client)).toHaveLength(500);
    expect(client.closed).toBeUndefined();
  });
});

describe("a key that ends", () => {
  it("ends its connections, idle ones too, at its time and not before", async () => {
    const expiresAt = Date.now() + 40 * DAY; // more than a timer holds
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const { open } = await start({ expiresAt });
    const client = await open();
    vi.setSystemTime(expiresAt - 30_000);
    await vi.advanceTimersByTimeAsync(29_000);
    await settle();
    expect(client.closed).toBeUndefined();
    await vi.advanceTimersByTimeAsync(60_000);
    await settle();
    expect(codes(client)).toEqual([[unauthorized.wire, 0]]);
    expect(client.closed?.code).toBe(1008);
  });

  it("gets no bundle and no answer any more, before any timer has noticed", async () => {
    const expiresAt = Date.now() + DAY;
    vi.useFakeTimers({ toFake: ["Date"] });
    const { open } = await start({ expiresAt });
    const clients = [await open(), await open()];
    vi.setSystemTime(expiresAt);
    say(clients[0], { case: "fetchBundle", value: {} });
    say(clients[1], query(1));
    await settle();
    for (const client of clients) {
      expect(codes(client)).toEqual([[unauthorized.wire, 0]]);
      expect(client.closed?.code).toBe(1008);
      expect(client.received).toHaveLength(2);
    }
  });

  it("and was prolonged keeps its connections", async () => {
    const expiresAt = Date.now() + 1000;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const { open, store, record } = await start({ expiresAt });
    const client = await open();
    store.setKeys([{ ...record, expiresAt: expiresAt + DAY }]);
    await settle();
    await vi.advanceTimersByTimeAsync(120_000);
    await settle();
    expect(client.closed).toBeUndefined();
    say(client, query(1));
    await settle();
    expect(count(client, "answer")).toBe(1);
  });
});
