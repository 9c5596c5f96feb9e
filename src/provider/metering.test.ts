/** Keys, rates and budgets at the provider, without a socket: what a client is told, and what it is not answered. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { type MemorySocket, memorySockets, settle } from "../../test/support/memory-socket.ts";
import { heard, hello, queryOf, say } from "../../test/support/provider-client.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { ERROR_KINDS } from "../base/errors.ts";
import { packedBytes } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { createApiKey, decodeKeyFile, encodeKeyFile, hashApiKey, type NewKey } from "./api-keys.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import { loadServedAdapter, Provider, type ProviderStore, type ServedAdapter } from "./provider.ts";
import { RateLimiter } from "./rate-limiter.ts";

const NOW = 1_800_000_000_000;
const QUERY_BYTES = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
let served: ServedAdapter;
/** The account's key of the private layer. */
let keyId: Uint8Array;

beforeAll(async () => {
  const made = await tinyBundle();
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  served = await loadServedAdapter(memoryFileTree(files, "state"));
});

async function start(
  change: Partial<NewKey> = {},
  wrap: (store: ProviderStore) => ProviderStore = (store) => store,
) {
  const journal = memoryJournal();
  const store = new EmbeddedStore(journal, []);
  const { key, record } = createApiKey(
    { budget: { vectors: 10, windowSeconds: 0 }, ...change },
    NOW,
    systemRandom,
  );
  store.setKeys([record]);
  keyId = await store.allocateKey(record.account);
  const clock = { now: NOW };
  const provider = new Provider([served], { store: wrap(store), now: () => clock.now });
  const open = (token = key) => {
    const [client, server] = memorySockets();
    provider.accept(server);
    say(client, hello({ token }));
    return client;
  };
  return { journal, store, provider, open, record, key, clock };
}

const query = (id: number, vectors?: number, change?: Record<string, unknown>) =>
  queryOf(id, keyId, vectors, change);
const last = (socket: MemorySocket) => heard(socket).at(-1)!;

describe("budgets", () => {
  it("are told at the Welcome and in each answer, to the last vector", async () => {
    const { open } = await start();
    const client = open();
    say(client, query(1, 4), query(2, 6), query(3));
    await settle();
    const [welcome, first, second, third] = heard(client);
    expect(welcome.value).toMatchObject({ budget: { vectors: 10n, windowSeconds: 0, left: 10n } });
    expect(first).toMatchObject({ case: "answer", value: { id: 1, vectorsLeft: 6n } });
    expect(second).toMatchObject({ case: "answer", value: { id: 2, vectorsLeft: 0n } });
    expect(third).toMatchObject({
      case: "failure",
      value: { queryId: 3, code: ERROR_KINDS.budget_exhausted.wire },
    });
    expect(client.closed).toBeUndefined();
    const later = open();
    await settle();
    expect(last(later).value).toMatchObject({ budget: { left: 0n } });
  });

  it("are counted by group", async () => {
    const { open } = await start();
    const client = open();
    say(client, query(1, 10), query(2, 1, { group: 1 }), query(3));
    await settle();
    expect(heard(client).map(({ case: name }) => name)).toEqual(["welcome", "answer", "answer", "failure"]);
  });

  it("do not charge what is refused, and the same bytes once", async () => {
    const { open } = await start();
    const client = open();
    const ciphertext = new Uint8Array(QUERY_BYTES).fill(99);
    const short = { ciphertext: new Uint8Array(5) };
    say(client, query(1, 1, short), query(2, 1, { group: 9 }), query(3, 1, { ciphertext }));
    const second = open();
    say(second, query(4, 1, { ciphertext }), query(5));
    await settle();
    expect(last(client).value).toMatchObject({ id: 3, vectorsLeft: 9n });
    expect(heard(second)[1].value).toMatchObject({ id: 4, vectorsLeft: 9n });
    expect(heard(second)[1].value).toMatchObject({
      words: (last(client).value as { words: Uint8Array }).words,
    });
    expect(last(second).value).toMatchObject({ id: 5, vectorsLeft: 8n });
  });

  it("charge the same bytes again under another key, and for another version of the bundle", async () => {
    const { open, store, record, key } = await start();
    const ciphertext = new Uint8Array(QUERY_BYTES).fill(98);
    const client = open();
    const other = await store.allocateKey(record.account);
    say(
      client,
      query(1, 1, { ciphertext }),
      queryOf(2, other, 1, { ciphertext }),
      query(3, 1, { ciphertext }),
    );
    await settle();
    const left = () => heard(client).map(({ value }) => (value as { vectorsLeft?: bigint }).vectorsLeft);
    expect(left()).toEqual([undefined, 9n, 8n, 8n]);
    // Under the new version's keys the bytes get another answer: one vector more that is learnt.
    const made = await tinyBundle();
    const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
    const next = await loadServedAdapter(memoryFileTree(files, "state"));
    const [socket, server] = memorySockets();
    new Provider([next], { store, now: () => NOW }).accept(server);
    say(socket, hello({ token: key }), query(1, 1, { ciphertext }));
    await settle();
    expect(last(socket).value).toMatchObject({ id: 1, vectorsLeft: 7n });
  });

  it("of a window say when it is renewed", async () => {
    const { open, clock } = await start({ budget: { vectors: 2, windowSeconds: 3600 } });
    const client = open();
    say(client, query(1, 2), query(2));
    await settle();
    expect(last(client).value).toMatchObject({ hint: "the budget is renewed at 2027-01-15T09:00:00.000Z" });
    clock.now += 3_600_000;
    say(client, query(3));
    await settle();
    expect(last(client).value).toMatchObject({ id: 3, vectorsLeft: 1n });
  });

  it("no charge, no answer: a journal that can't be written answers nothing", async () => {
    const { open, journal } = await start();
    const client = open();
    await settle();
    journal.failure = new Error("disk full");
    say(client, query(1));
    await settle();
    expect(last(client)).toMatchObject({
      case: "failure",
      value: { queryId: 1, code: ERROR_KINDS.internal.wire },
    });
  });

  it("without a limit are not mentioned", async () => {
    const { open } = await start({ budget: null });
    const client = open();
    say(client, query(1));
    await settle();
    expect(heard(client)[0].value).not.toHaveProperty("budget");
    expect(last(client).value).toMatchObject({ id: 1 });
    expect(last(client).value).not.toHaveProperty("vectorsLeft");
  });
});

describe("a store behind a network", () => {
  /** Everything later and in its order, as Redis would. */
  const slow = (store: ProviderStore): ProviderStore => {
    const later = async <T>(value: () => T | Promise<T>): Promise<T> => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      return value();
    };
    const wrapped: ProviderStore = {
      check: async () => {},
      onKeysChanged: () => {},
      findKey: (hash) => later(() => store.findKey(hash)),
      reserve: (reservation) => later(() => store.reserve(reservation)),
      remaining: (...args) => later(() => store.remaining(...args)),
      allocateKey: (account) => later(() => store.allocateKey(account)),
      keysLeft: (...args) => later(() => store.keysLeft(...args)),
    };
    store.onKeysChanged = () => wrapped.onKeysChanged();
    return wrapped;
  };

  it("serves what comes before the Welcome after it, and stays exact", async () => {
    const { open } = await start({}, slow);
    const client = open();
    for (let id = 1; id <= 12; id++) say(client, query(id));
    for (let i = 0; i < 200 && client.received.length < 13; i++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    const names = heard(client).map(({ case: name }) => name);
    expect(names[0]).toBe("welcome");
    expect(names.filter((name) => name === "answer")).toHaveLength(10);
    expect(names.filter((name) => name === "failure")).toHaveLength(2);
  });

  it("lets nobody fill its memory before the Welcome", async () => {
    const { open } = await start({}, slow);
    const client = open();
    for (let id = 1; id <= 40; id++) say(client, query(id));
    await vi.waitFor(() => expect(client.closed).toBeDefined());
    expect(heard(client)).toMatchObject([{ case: "failure", value: { code: ERROR_KINDS.not_ready.wire } }]);
  });

  it("counts queries that wait for it as open", async () => {
    const { open } = await start({ budget: null }, slow);
    const client = open();
    await expect.poll(() => heard(client).length, { interval: 1 }).toBe(1); // the Welcome
    for (let id = 1; id <= 70; id++) say(client, query(id));
    const codes = () =>
      heard(client).flatMap((frame) => (frame.case === "failure" ? [frame.value.code] : []));
    await expect.poll(() => codes().length, { interval: 1 }).toBe(6);
    expect(codes()).toEqual(Array(6).fill(ERROR_KINDS.too_many_requests.wire));
  });
});

describe("keys", () => {
  it.each<[string, Partial<NewKey>, string | undefined]>([
    ["that does not exist", {}, "tacet_00"],
    ["that is missing", {}, ""],
    ["that has expired", { expiresAt: NOW }, undefined],
    ["for another adapter", { adapters: ["other"] }, undefined],
  ])("a key %s is refused, all in the same words", async (_, change, token) => {
    const { open } = await start(change);
    const client = token === undefined ? open() : open(token);
    await settle();
    expect(heard(client)).toMatchObject([
      {
        case: "failure",
        value: { code: ERROR_KINDS.unauthorized.wire, message: "the provider does not accept this token" },
      },
    ]);
    expect(client.closed).toBeDefined();
  });

  it("that are revoked close their connections, others stay", async () => {
    const { open, store, record } = await start();
    const other = createApiKey({ budget: null }, NOW, systemRandom);
    store.setKeys([record, other.record]);
    const clients = [open(), open(other.key)];
    await settle();
    store.setKeys([{ ...record, revokedAt: NOW }, other.record]);
    await settle();
    expect(last(clients[0]).value).toMatchObject({ code: ERROR_KINDS.unauthorized.wire, queryId: 0 });
    expect(clients.map(({ closed }) => closed?.code)).toEqual([1008, undefined]);
  });

  it("that have a new budget use it at once", async () => {
    const { open, store, record } = await start();
    const client = open();
    await settle();
    store.setKeys([{ ...record, budget: { vectors: 100, windowSeconds: 0 } }]);
    say(client, query(1));
    await settle();
    expect(last(client).value).toMatchObject({ vectorsLeft: 99n });
  });

  it("of one account share its budget", async () => {
    const { open, store, record } = await start();
    const second = createApiKey({ budget: record.budget, account: record.account }, NOW, systemRandom);
    store.setKeys([record, second.record]);
    say(open(), query(1, 7));
    const client = open(second.key);
    say(client, query(2, 4));
    await settle();
    expect(last(client).value).toMatchObject({ code: ERROR_KINDS.budget_exhausted.wire });
  });

  it("of one account with budgets of other lengths get no more in turns; the one that leaves least is told", async () => {
    const budget = { vectors: 10, windowSeconds: 86_400 };
    const { open, store, record } = await start({ budget });
    const hourly = { budget: { vectors: 10, windowSeconds: 3_600 }, account: record.account };
    const second = createApiKey(hourly, NOW, systemRandom);
    store.setKeys([record, second.record]);
    const clients = [open(), open(second.key)];
    for (let id = 1; id <= 20; id++) {
      say(clients[id % 10 === 0 ? 1 : 0], query(id));
      await settle();
    }
    const answers = clients.flatMap((client) => heard(client).filter((frame) => frame.case === "answer"));
    expect(answers).toHaveLength(10);
    const later = open(second.key);
    await settle();
    expect(last(later).value).toMatchObject({ budget: { vectors: 10n, windowSeconds: 86_400, left: 0n } });
  });

  it("are stored as hashes only, and a file that is not right is refused by field", () => {
    const { key, record } = createApiKey({ budget: null, label: "x" }, NOW, systemRandom);
    const text = encodeKeyFile([record]);
    expect(key).toMatch(/^tacet_[0-9a-f]{64}$/);
    expect(text).not.toContain(key.slice(6));
    expect(record.hash).toBe(hashApiKey(key));
    expect(decodeKeyFile(text, "f")).toEqual([record]);
    const wrong: Record<string, unknown> = {
      id: "",
      hash: "00",
      account: "",
      label: 1,
      adapters: "law",
      budget: { vectors: -1, windowSeconds: 0 },
      vectorsPerSecond: 0,
      createdAt: 0.5,
      expiresAt: "tomorrow",
      revokedAt: undefined,
    };
    for (const [field, value] of Object.entries(wrong)) {
      const file = JSON.stringify({ version: 1, keys: [{ ...record, [field]: value }] });
      expect(() => decodeKeyFile(file, "f")).toThrow(
        expect.objectContaining({ code: "bad_state", message: expect.stringContaining(`${field} of key 0`) }),
      );
    }
    // Halves of characters are one in UTF-8: two such accounts would have one key's secrets.
    const half = "\ud800";
    expect(() => createApiKey({ budget: null, account: half }, NOW, systemRandom)).toThrow(
      expect.objectContaining({ code: "bad_argument" }),
    );
    const halved = JSON.stringify({ version: 1, keys: [{ ...record, account: half }] });
    expect(() => decodeKeyFile(halved, "f")).toThrow(expect.objectContaining({ code: "bad_state" }));
    for (const file of ["", "[]", "null", '{"version":2,"keys":[]}', encodeKeyFile([record, record])]) {
      expect(() => decodeKeyFile(file, "f")).toThrow(expect.objectContaining({ code: "bad_state" }));
    }
  });
});

describe("RateLimiter", () => {
  it("lets a burst of ten seconds through, then the rate, and refuses what would wait too long", () => {
    const rates = new RateLimiter();
    const take = (vectors: number, nowMs: number) => rates.take("k", 5, vectors, nowMs, 20_000);
    expect(take(50, 0)).toBe(0);
    expect(take(5, 0)).toBe(1000);
    expect(take(5, 0)).toBe(2000);
    expect(() => take(100, 0)).not.toThrow(); // larger than the bucket: when the bucket is full
    expect(() => take(60, 0)).toThrow(expect.objectContaining({ code: "too_many_requests" }));
    expect(rates.take("other", 5, 50, 0, 0)).toBe(0);
    expect(take(50, 100_000)).toBe(0);
  });
});
