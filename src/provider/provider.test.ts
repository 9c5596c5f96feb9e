/** The provider without a socket: states, limits, draining, what it tells its operator. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { type MemorySocket, memorySockets, settle } from "../../test/support/memory-socket.ts";
import { cases, enterWithKey, heard, hello, say, until } from "../../test/support/provider-client.ts";
import { tinyAdapter, tinyBundle } from "../../test/support/tiny-bundle.ts";
import { ERROR_KINDS } from "../base/errors.ts";
import { type CreatedBundle, createBundle } from "../bundle/create-bundle.ts";
import { packedBytes } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import type { ClientMessageInit } from "../wire/frames.ts";
import { createApiKey } from "./api-keys.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import {
  loadServedAdapter,
  Provider,
  type ProviderEvent,
  type ProviderOptions,
  type ServedAdapter,
} from "./provider.ts";

const QUERY_BYTES = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
let made: CreatedBundle;
let served: ServedAdapter;

const stateTree = (files: Record<string, Uint8Array>) => memoryFileTree(files, "state");
const wholeState = () => ({ "bundle.safetensors": made.bundle, "private.safetensors": made.privateState });

async function namedState(adapter: string): Promise<Record<string, Uint8Array>> {
  const { bundle, privateState } = await createBundle({ ...tinyAdapter(), adapter }, systemRandom);
  return { "bundle.safetensors": bundle, "private.safetensors": privateState };
}

beforeAll(async () => {
  made = await tinyBundle();
  served = await loadServedAdapter(stateTree(wholeState()));
});

function start(options: ProviderOptions = {}) {
  const events: ProviderEvent[] = [];
  const provider = new Provider([served], { onEvent: (event) => events.push(event), ...options });
  const open = (): MemorySocket => {
    const [client, server] = memorySockets();
    provider.accept(server);
    return client;
  };
  return { provider, events, open };
}

const query = (change: Record<string, unknown> = {}): NonNullable<ClientMessageInit> => ({
  case: "query",
  value: { id: 1, group: 0, vectors: 1, ciphertext: new Uint8Array(QUERY_BYTES), ...change },
});

describe("loadServedAdapter", () => {
  it("refuses a folder without bundle or private state, or with those of two bundles", async () => {
    const other = await tinyBundle();
    for (const files of [
      {},
      { "bundle.safetensors": made.bundle },
      { "private.safetensors": made.privateState },
      { "bundle.safetensors": made.bundle, "private.safetensors": other.privateState },
    ]) {
      await expect(loadServedAdapter(stateTree(files as never))).rejects.toMatchObject({ code: "bad_state" });
    }
  });
});

describe("Provider", () => {
  it("refuses options that do not exist, and shows nothing of its inside", () => {
    for (const [options, hint] of [
      [{ threads: 3 }, expect.stringContaining("it has: ")],
      [{ limits: { maxVektors: 3 } }, "did you mean maxVectors?"],
      [{ stor: {} }, "did you mean store?"],
    ] as const) {
      expect(() => new Provider([served], options as object)).toThrow(
        expect.objectContaining({ code: "bad_argument", hint }),
      );
    }
    expect(() => createApiKey({} as never)).toThrow(expect.objectContaining({ code: "bad_argument" }));
    const { provider } = start();
    expect(Object.keys(provider).sort()).toEqual(["keyPartBytes", "limits", "totals", "waiting"]);
    const methods = [
      "accept",
      "adapterNames",
      "drain",
      "heldSecrets",
      "inFlight",
      "openConnections",
      "shutDown",
    ];
    expect(Object.getOwnPropertyNames(Provider.prototype).sort()).toEqual(["constructor", ...methods].sort());
  });

  it("needs an adapter, and names that differ", () => {
    expect(() => new Provider([])).toThrow(expect.objectContaining({ code: "bad_state" }));
    expect(() => new Provider([served, served])).toThrow(expect.objectContaining({ code: "bad_state" }));
  });

  it.each(["helloTimeoutMs", "maxBufferedBytes", "maxConnectionsPerKey"])(
    "refuses a %s that would hold nothing back",
    (name) => {
      for (const value of [Number.NaN, 0, -1, "10", null]) {
        expect(() => new Provider([served], { [name]: value })).toThrow(
          expect.objectContaining({ code: "bad_argument", message: expect.stringContaining(name) }),
        );
      }
    },
  );

  it("welcomes, sends the bundle, answers, says goodbye; counts all of it", async () => {
    const { provider, events, open } = start();
    const client = open();
    const keyId = await enterWithKey(client);
    const keyBytes = provider.totals.bytesOut - client.received[0].length;
    say(client, { case: "fetchBundle", value: {} }, query({ id: 9, keyId }));
    await settle();
    expect(cases(client).sort()).toEqual(["answer", "bundlePart", "welcome"]);
    const part = heard(client).find((frame) => frame.case === "bundlePart");
    expect(part?.value).toMatchObject({ offset: 0n, last: true });
    expect(part).toMatchObject({ value: { data: made.bundle } });
    expect(provider.openConnections).toBe(1);
    say(client, { case: "goodbye", value: {} });
    await settle();
    expect(client.closed?.code).toBe(1000);
    expect(provider.openConnections).toBe(0);
    const bytesOut = keyBytes + client.received.reduce((sum, { length }) => sum + length, 0);
    expect(provider.totals).toMatchObject({ connections: 1, queries: 1, vectors: 1, failures: 0, bytesOut });
    expect(events.map(({ type }) => type)).toEqual(["connected", "welcomed", "key", "answered", "closed"]);
  });

  it("is the same for every connection of an account: no state of one shows in another", async () => {
    const store = new EmbeddedStore(memoryJournal(), []);
    const { key, record } = createApiKey({ budget: null });
    store.setKeys([record]);
    const { open } = start({ store });
    const clients = [open(), open()];
    const keyId = await enterWithKey(clients[0], { token: key });
    say(clients[1], hello({ token: key }));
    for (const client of clients)
      say(client, query({ ciphertext: new Uint8Array(QUERY_BYTES).fill(7), keyId }));
    await settle();
    const answers = clients.map((client) => heard(client)[1].value as { words: Uint8Array });
    expect(answers[0].words).toEqual(answers[1].words);
  });

  it.each<[string, Record<string, unknown>, keyof typeof ERROR_KINDS]>([
    ["version 1", { version: 1 }, "unsupported_version"],
    ["version 3", { version: 3 }, "unsupported_version"],
    ["another base model", { baseFingerprint: new Uint8Array(32) }, "wrong_base_model"],
    ["no base model", { baseFingerprint: new Uint8Array(0) }, "wrong_base_model"],
    ["another adapter", { adapter: "other" }, "unknown_adapter"],
    ["another bundle", { bundleDigest: new Uint8Array(32) }, "bundle_changed"],
    ["a digest of another length", { bundleDigest: new Uint8Array(31) }, "bundle_changed"],
  ])("refuses a Hello of %s and closes", async (_, change, code) => {
    const { events, open } = start();
    const client = open();
    say(client, hello(change), query());
    await settle();
    expect(cases(client)).toEqual(["failure"]);
    expect(heard(client)[0].value).toMatchObject({ code: ERROR_KINDS[code].wire, queryId: 0 });
    expect(client.closed).toBeDefined();
    expect(events).toContainEqual({ type: "refused", connection: 1, code });
  });

  it("tells a token of the adapters that it may use, and of no others", async () => {
    const other = await loadServedAdapter(stateTree(await namedState("other")));
    const third = await loadServedAdapter(stateTree(await namedState("third")));
    const may: Record<string, readonly string[]> = {
      all: ["tiny", "other", "third"],
      two: ["other", "third"],
    };
    const provider = new Provider([served, other, third], {
      authorize: (token, adapter) => may[token]?.includes(adapter) ?? false,
    });
    const reply = async (adapter: string, token: string) => {
      const [client, server] = memorySockets();
      provider.accept(server);
      say(client, hello({ adapter, token }));
      await settle();
      return heard(client)[0].value;
    };
    expect(await reply("", "all")).toMatchObject({ adapter: "tiny" });
    expect(await reply("third", "all")).toMatchObject({ adapter: "third" });
    expect(await reply("", "two")).toMatchObject({ adapter: "other" });
    for (const name of ["tiny", "nothing"]) {
      expect(await reply(name, "two")).toMatchObject({
        code: ERROR_KINDS.unknown_adapter.wire,
        hint: "it has: other, third (--adapter-name)",
      });
      expect(await reply(name, "none")).toMatchObject({ code: ERROR_KINDS.unauthorized.wire });
    }
  });

  it("closes a connection that says nothing", async () => {
    const { open } = start({ helloTimeoutMs: 20 });
    const client = open();
    await vi.waitFor(() => expect(client.closed).toBeDefined());
    expect(heard(client)[0].value).toMatchObject({ code: ERROR_KINDS.not_ready.wire });
  });

  it("holds to its limits, and the connection goes on", async () => {
    const { open } = start({ limits: { maxVectors: 2 } });
    const client = open();
    const three = new Uint8Array(3 * QUERY_BYTES);
    const keyId = await enterWithKey(client);
    say(client, query({ id: 1, vectors: 3, ciphertext: three, keyId }), query({ id: 2, keyId }));
    await settle();
    expect(cases(client)).toEqual(["welcome", "failure", "answer"]);
    expect(heard(client)[0].value).toMatchObject({ limits: { maxVectors: 2 } });
    expect(heard(client)[1].value).toMatchObject({ code: ERROR_KINDS.too_large.wire, queryId: 1 });
  });

  it("answers a long query with others in between, to the same words", async () => {
    const vectors = 200;
    const { open } = start();
    const ciphertext = Uint8Array.from({ length: vectors * QUERY_BYTES }, (_, i) => (i * 31) >> 3);
    const client = open();
    const keyId = await enterWithKey(client);
    const single = ciphertext.subarray(0, QUERY_BYTES);
    say(client, query({ id: 1, vectors, ciphertext, keyId }), query({ id: 2, ciphertext: single, keyId }));
    await until(() => client.received.length === 3);
    const answers = heard(client).flatMap((frame) => (frame.case === "answer" ? [frame.value] : []));
    const long = answers.find(({ id }) => id === 1)!;
    const short = answers.find(({ id }) => id === 2)!;
    expect(answers).toEqual([short, long]);
    expect(long.words).toHaveLength(vectors * served.layers[0].replyBytes);
    expect(long.words.subarray(0, served.layers[0].replyBytes)).toEqual(short.words);
  });

  it("does not send more of a bundle than the client takes, and asked twice is refused", async () => {
    const { open, provider } = start();
    const [client, server] = memorySockets();
    provider.accept(server);
    server.bufferedBytes = 32 << 20;
    say(client, hello(), { case: "fetchBundle", value: {} });
    await settle();
    expect(cases(client)).toEqual(["welcome"]);
    server.bufferedBytes = 0;
    await vi.waitFor(() => expect(cases(client)).toEqual(["welcome", "bundlePart"]));
    const greedy = open();
    say(greedy, hello(), { case: "fetchBundle", value: {} }, { case: "fetchBundle", value: {} });
    await settle();
    expect(heard(greedy).at(-1)).toMatchObject({
      case: "failure",
      value: { code: ERROR_KINDS.not_ready.wire, queryId: 0 },
    });
    expect(greedy.closed).toBeDefined();
  });

  it("drops a client that does not read its answers", async () => {
    const { provider } = start();
    const [client, server] = memorySockets();
    provider.accept(server);
    const keyId = await enterWithKey(client);
    server.bufferedBytes = 65 << 20;
    say(client, query({ keyId }));
    await settle();
    expect(client.closed?.code).toBe(1008);
    expect(provider.openConnections).toBe(0);
  });

  it("drains: answers what is open, reads no more, says goodbye with the last answer", async () => {
    const vectors = 239;
    const { provider, open } = start();
    const [idle, busy] = [open(), open()];
    say(idle, hello());
    const keyId = await enterWithKey(busy);
    say(busy, query({ vectors, ciphertext: new Uint8Array(vectors * QUERY_BYTES), keyId }));
    await settle(1);
    expect(provider.inFlight).toBe(1);
    const drained = provider.drain();
    say(busy, query({ id: 2, keyId }));
    await settle();
    expect(cases(idle)).toEqual(["welcome", "goodbye"]);
    expect(cases(busy)).toEqual(["welcome"]);
    await drained;
    await settle();
    expect(cases(busy)).toEqual(["welcome", "answer", "goodbye"]);
    expect(busy.closed?.code).toBe(1001);
    expect([provider.openConnections, provider.inFlight]).toEqual([0, 0]);
  });

  it("holds a key to its connections, and counts those that have gone as gone", async () => {
    const store = new EmbeddedStore(memoryJournal(), []);
    const [one, two] = [createApiKey({ budget: null }), createApiKey({ budget: null })];
    store.setKeys([one.record, two.record]);
    const { open } = start({ maxConnectionsPerKey: 2, store });
    const enter = async (token: string) => {
      const client = open();
      say(client, hello({ token }));
      await settle();
      return client;
    };
    const first = await enter(one.key);
    expect(cases(first)).toEqual(["welcome"]);
    expect(cases(await enter(one.key))).toEqual(["welcome"]);
    expect(heard(await enter(one.key))[0].value).toMatchObject({ code: ERROR_KINDS.too_many_requests.wire });
    expect(cases(await enter(two.key))).toEqual(["welcome"]);
    say(first, { case: "goodbye", value: {} });
    await settle();
    expect(cases(await enter(one.key))).toEqual(["welcome"]);
  });

  it("draining: says goodbye to all, and to who comes later", async () => {
    const { provider, open } = start();
    const early = open();
    say(early, hello());
    await settle();
    provider.shutDown();
    const late = open();
    await settle();
    expect(cases(early)).toEqual(["welcome", "goodbye"]);
    expect(cases(late)).toEqual(["goodbye"]);
    expect([early.closed?.code, late.closed?.code]).toEqual([1001, 1001]);
  });

  it("reports a fault of its own as internal, without its text", async () => {
    const { events, provider } = start({
      authorize: () => {
        throw new Error("secret-detail");
      },
    });
    const [client, server] = memorySockets();
    provider.accept(server);
    say(client, hello());
    await settle();
    expect(heard(client)[0].value).toMatchObject({ code: ERROR_KINDS.internal.wire });
    expect(JSON.stringify([heard(client)[0].value, events])).not.toContain("secret-detail");
    expect(events).toContainEqual({ type: "fault", connection: 1, name: "Error" });
  });
});
