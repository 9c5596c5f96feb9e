/** Keys at the provider, without a socket: which bytes a key is, who may use it, for how much, and what it costs. */
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type MemoryJournal, memoryJournal } from "../../test/support/memory-journal.ts";
import { type MemorySocket, memorySockets, settle } from "../../test/support/memory-socket.ts";
import {
  cases,
  fetchKey,
  heard,
  heardOf,
  hello,
  queryOf,
  say,
  until,
} from "../../test/support/provider-client.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { fromHex, toHex } from "../base/bytes.ts";
import { ERROR_KINDS } from "../base/errors.ts";
import { WaitingBytes } from "../base/waiting-bytes.ts";
import type { CreatedBundle } from "../bundle/create-bundle.ts";
import { isKeySignedBy, keyPartDigest } from "../bundle/key-signature.ts";
import { packedBytes } from "../ring/kernels.ts";
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
const { vectorsPerKey } = DEFAULT_PARAMETERS;
const { bad_frame, bad_query, too_many_requests, unknown_key, worn_key } = ERROR_KINDS;

let made: CreatedBundle;
let served: ServedAdapter;

const load = ({ bundle, privateState }: CreatedBundle) =>
  loadServedAdapter(
    memoryFileTree({ "bundle.safetensors": bundle, "private.safetensors": privateState }, "state"),
  );

beforeAll(async () => {
  made = await tinyBundle();
  served = await load(made);
});

afterEach(() => {
  vi.useRealTimers();
});

interface StartOptions extends ProviderOptions {
  readonly adapter?: ServedAdapter;
  /** What the store keeps. */
  readonly journal?: MemoryJournal;
}

/** A provider with a store and two accounts. */
function start({ adapter = served, journal = memoryJournal(), ...options }: StartOptions = {}) {
  const store = new EmbeddedStore(journal, journal.records, { isUntouchedSince: () => true });
  const accounts = ["ann", "bob"].map((account) => createApiKey({ budget: null, account }));
  store.setKeys(accounts.map(({ record }) => record));
  const events: ProviderEvent[] = [];
  const provider = new Provider([adapter], { store, onEvent: (event) => events.push(event), ...options });
  const connect = () => {
    const [client, server] = memorySockets();
    provider.accept(server);
    return { client, server };
  };
  const open = async (account = 0, change: Record<string, unknown> = {}) => {
    const { client, server } = connect();
    say(client, hello({ token: accounts[account].key, ...change }));
    await settle();
    return Object.assign(client, { server });
  };
  return { provider, store, events, open };
}

/** Asks for a key and returns it as it came. */
async function fetched(client: MemorySocket, id: number, keyId?: Uint8Array) {
  say(client, fetchKey(id, keyId));
  const parts = () => heardOf(client, "keyPart").filter((part) => part.id === id);
  await until(() => parts().length === 2);
  const made = heardOf(client, "keyMade").find((each) => each.id === id);
  if (made === undefined) throw new Error("no KeyMade came");
  return { id: made.keyId, left: made.vectorsLeft, parts: parts() };
}

const bytesOf = ({ parts }: Awaited<ReturnType<typeof fetched>>) =>
  parts.map(({ weights, hint, signature }) => [weights, hint, signature].map(toHex).join());
const failures = (client: MemorySocket) => heardOf(client, "failure");
const lastFailure = (client: MemorySocket) => failures(client).at(-1);

describe("a key", () => {
  it("is announced, then comes group by group, signed as a whole by the bundle's key signer", async () => {
    const { open, provider, events } = start();
    const client = await open();
    expect(heard(client)[0].value).toMatchObject({ keys: [], vectorsPerKey });
    const key = await fetched(client, 7);
    expect(cases(client)).toEqual(["welcome", "keyMade", "keyPart", "keyPart"]);
    expect(key.left).toBe(vectorsPerKey);
    expect(key.parts.map(({ id, group }) => [id, group])).toEqual([
      [7, 0],
      [7, 1],
    ]);
    const signer = fromHex(made.manifest.keySigner);
    const identity = { bundleDigest: made.digest, keyId: key.id };
    const digests = key.parts.map((part) => keyPartDigest(part));
    const { signature } = key.parts[1];
    expect(isKeySignedBy(signer, identity, digests, signature)).toBe(true);
    expect(isKeySignedBy(signer, identity, digests.toReversed(), signature)).toBe(false);
    expect(key.parts[0].signature).toHaveLength(0);
    for (const part of key.parts) {
      expect(part.weights.length + part.hint.length).toBe(served.layers[part.group].keyBytes);
    }
    expect(provider.totals).toMatchObject({ keys: 1 });
    expect(provider.totals.keyMs).toBeGreaterThan(0);
    const event = events.find(({ type }) => type === "key");
    expect(Object.keys(event ?? {}).sort()).toEqual(
      ["adapter", "bytes", "connection", "isRepeated", "ms", "type"].sort(),
    );
  });

  it("is the same bytes whenever it is asked for: again, elsewhere, after a restart", async () => {
    const journal = memoryJournal();
    const first = start({ journal });
    const client = await first.open();
    const key = await fetched(client, 1);
    const again = await fetched(client, 2, key.id);
    const elsewhere = await fetched(await first.open(), 1, key.id);
    const restarted = start({ journal, adapter: await load(made) });
    const after = await fetched(await restarted.open(), 1, key.id);
    for (const other of [again, elsewhere, after]) {
      expect(other.id).toEqual(key.id);
      expect(bytesOf(other)).toEqual(bytesOf(key));
    }
    expect(first.events.flatMap((event) => (event.type === "key" ? [event.isRepeated] : []))).toEqual([
      false,
      true,
      true,
    ]);
  });

  it("is another for another id, account, bundle and epoch", async () => {
    const journal = memoryJournal();
    const { open } = start({ journal });
    const [ann, bob] = [await open(0), await open(1)];
    const key = await fetched(ann, 1);
    const others = [await fetched(ann, 2), await fetched(bob, 1)];
    // The first key of each account has the same id: what tells them apart is the account.
    expect(others[1].id).toEqual(key.id);
    const remade = await load(await tinyBundle());
    others.push(await fetched(await start({ journal, adapter: remade }).open(), 1, key.id));
    others.push(await fetched(await start().open(), 1));
    for (const other of others) {
      for (const [i, bytes] of bytesOf(other).entries()) expect(bytes).not.toBe(bytesOf(key)[i]);
    }
  });

  it("answers as S·v: replicas agree, other accounts' keys of the same id do not", async () => {
    const journal = memoryJournal();
    const first = start({ journal });
    const [ann, bob] = [await first.open(0), await first.open(1)];
    const { id: keyId } = await fetched(ann, 1);
    await fetched(bob, 1);
    const second = start({ journal, adapter: await load(made) });
    const clients = [ann, await second.open(0), bob];
    const ciphertext = crypto.getRandomValues(new Uint8Array(QUERY_BYTES));
    const words: Uint8Array[] = [];
    for (const client of clients) {
      say(client, queryOf(9, keyId, 1, { ciphertext }));
      await until(() => heardOf(client, "answer").length === 1);
      words.push(heardOf(client, "answer")[0].words);
    }
    expect(words[1]).toEqual(words[0]);
    expect(words[2]).not.toEqual(words[0]);
    // Held or derived again, in this thread or in parts: the same.
    const long = new Uint8Array(100 * QUERY_BYTES);
    for (let i = 0; i < 100; i++) long.set(ciphertext, i * QUERY_BYTES);
    say(clients[0], queryOf(10, keyId, 100, { ciphertext: long }));
    await until(() => heardOf(clients[0], "answer").length === 2);
    const { replyBytes } = served.layers[0];
    const all = heardOf(clients[0], "answer")[1].words;
    for (let i = 0; i < 100; i++)
      expect(all.subarray(i * replyBytes, (i + 1) * replyBytes)).toEqual(words[0]);
  });
});

describe("a query", () => {
  it("under a key that was never made, is another account's or of another epoch is unknown, and costs nothing", async () => {
    const { open } = start();
    const [ann, bob] = [await open(0), await open(1)];
    await fetched(ann, 1);
    const second = await fetched(ann, 2);
    const strange = await fetched(await start().open(), 1);
    const unmade = second.id.slice();
    unmade[15]++;
    say(bob, queryOf(1, second.id));
    say(ann, queryOf(1, strange.id), queryOf(2, unmade), queryOf(3, new Uint8Array(16)));
    await settle();
    expect(failures(bob)).toMatchObject([{ code: unknown_key.wire, queryId: 1, keyRequestId: 0 }]);
    expect(failures(ann).map(({ code, queryId }) => [code, queryId])).toEqual(
      [1, 2, 3].map((id) => [unknown_key.wire, id]),
    );
    const later = await open(0, { keyIds: [second.id] });
    expect(heard(later)[0].value).toMatchObject({ keys: [{ keyId: second.id, vectorsLeft: vectorsPerKey }] });
    expect([ann.closed, bob.closed]).toEqual([undefined, undefined]);
  });

  it("names a key by an id of its length", async () => {
    const { open } = start();
    const client = await open();
    for (const length of [0, 1, 15, 17]) say(client, queryOf(1, new Uint8Array(length)));
    await settle();
    expect(failures(client).map(({ code }) => code)).toEqual(Array(4).fill(bad_query.wire));
    expect(failures(client)[0].message).toContain("16 bytes");
  });

  it("is refused when the key is worn, by group; one vector less is answered", async () => {
    const { open } = start();
    const client = await open();
    const { id } = await fetched(client, 1);
    say(client, queryOf(1, id, vectorsPerKey - 1), queryOf(2, id, 2), queryOf(3, id, 1), queryOf(4, id, 1));
    say(client, queryOf(5, id, 1, { group: 1 }));
    await until(() => heardOf(client, "answer").length === 3);
    expect(
      heardOf(client, "answer")
        .map((answer) => answer.id)
        .sort(),
    ).toEqual([1, 3, 5]);
    expect(failures(client).map(({ code, queryId }) => [code, queryId])).toEqual([
      [worn_key.wire, 2],
      [worn_key.wire, 4],
    ]);
    // Nobody is sent a key that answers nothing.
    say(client, fetchKey(9, id));
    await settle();
    expect(lastFailure(client)).toMatchObject({ code: worn_key.wire, keyRequestId: 9, queryId: 0 });
  });
});

describe("Welcome", () => {
  it("says what is left of the keys that Hello names and that are good", async () => {
    const { open } = start();
    const [ann, bob] = [await open(0), await open(1)];
    const keys = [await fetched(ann, 1), await fetched(ann, 2)];
    const foreign = await fetched(bob, 1)
      .then(() => fetched(bob, 2))
      .then(() => fetched(bob, 3));
    say(ann, queryOf(1, keys[0].id, 5), queryOf(2, keys[0].id, 3, { group: 1 }));
    await settle();
    const ids = [keys[1].id, keys[0].id, foreign.id, new Uint8Array(16), new Uint8Array(3)];
    const again = await open(0, { keyIds: ids });
    expect(heard(again)[0].value).toMatchObject({
      vectorsPerKey,
      keys: [
        { keyId: keys[1].id, vectorsLeft: vectorsPerKey },
        { keyId: keys[0].id, vectorsLeft: vectorsPerKey - 5 },
      ],
    });
  });
});

describe("requests for keys", () => {
  it("are limited by account, over its connections; with a hint when the next is due", async () => {
    const { open, provider } = start();
    const clients = [await open(0), await open(0), await open(1)];
    for (let id = 1; id <= 6; id++) say(clients[0], fetchKey(id));
    for (let id = 1; id <= 6; id++) say(clients[1], fetchKey(id));
    say(clients[2], fetchKey(1));
    await until(() => provider.totals.keys === 9);
    expect([heardOf(clients[0], "keyMade").length, heardOf(clients[1], "keyMade").length]).toEqual([6, 2]);
    expect(failures(clients[1])).toHaveLength(4);
    expect(lastFailure(clients[1])).toMatchObject({ code: too_many_requests.wire, keyRequestId: 6 });
    expect(lastFailure(clients[1])?.hint).toMatch(/ask again in \d+ s/);
    expect(clients[1].closed).toBeUndefined();
  });

  it("are earned by vectors of the busiest group, not by groups and not by repeats", async () => {
    const { open, provider } = start();
    const client = await open();
    const keys = [];
    for (let id = 1; id <= 8; id++) keys.push((await fetched(client, id)).id);
    const refusedNow = async (id: number) => {
      say(client, fetchKey(id));
      await settle();
      return lastFailure(client)?.keyRequestId === id;
    };
    expect(await refusedNow(9)).toBe(true);
    const ciphertext = new Uint8Array(64 * QUERY_BYTES).fill(77);
    say(client, queryOf(1, keys[0], 64, { ciphertext }), queryOf(2, keys[0], 64, { ciphertext }));
    say(client, queryOf(3, keys[0], 64, { group: 1 }));
    await until(() => heardOf(client, "answer").length === 3);
    expect(await refusedNow(10)).toBe(true);
    say(client, queryOf(4, keys[1], 64));
    await until(() => heardOf(client, "answer").length === 4);
    await fetched(client, 11);
    expect(provider.totals.keys).toBe(9);
    expect(await refusedNow(12)).toBe(true);
  });

  it("are served one after another, and get never more than their parts", async () => {
    const { open, provider } = start();
    const client = await open();
    say(client, fetchKey(5), fetchKey(3), fetchKey(4));
    await until(() => provider.totals.keys === 3);
    await settle();
    const made = heardOf(client, "keyMade").map(({ id }) => id);
    const parts = heardOf(client, "keyPart").map(({ id, group }) => [id, group]);
    expect(made).toEqual([5, 3, 4]);
    expect(parts).toEqual([5, 3, 4].flatMap((id) => [0, 1].map((group) => [id, group])));
    expect(new Set(heardOf(client, "keyMade").map(({ keyId }) => toHex(keyId))).size).toBe(3);
  });

  it.each<[string, NonNullable<ClientMessageInit>[]]>([
    ["the id 0", [fetchKey(0)]],
    ["an id that is in use", [fetchKey(4), fetchKey(4)]],
  ])("with %s end the connection", async (_, frames) => {
    const { open } = start();
    const client = await open();
    say(client, ...frames);
    await settle();
    expect(lastFailure(client)).toMatchObject({ code: bad_frame.wire, queryId: 0, keyRequestId: 0 });
    expect(client.closed).toBeDefined();
  });

  it("before Hello end the connection; for a key that is none or another's they fail", async () => {
    const { open, provider } = start();
    const [early, server] = memorySockets();
    provider.accept(server);
    say(early, fetchKey(1));
    await settle();
    expect(early.closed).toBeDefined();
    const [ann, bob] = [await open(0), await open(1)];
    await fetched(ann, 1);
    const { id } = await fetched(ann, 2);
    const wrong = [id, id.subarray(1), new Uint8Array(16), new Uint8Array(40)];
    for (const [i, keyId] of wrong.entries()) say(bob, fetchKey(1 + i, keyId));
    await settle();
    expect(
      failures(bob)
        .map(({ code, keyRequestId }) => [code, keyRequestId])
        .sort(),
    ).toEqual([1, 2, 3, 4].map((request) => [unknown_key.wire, request]));
    expect(cases(bob)).not.toContain("keyMade");
    expect(bob.closed).toBeUndefined();
  });

  it("wait for a client that does not read, alone", async () => {
    const { open, provider } = start();
    const [lazy, quick] = [await open(0), await open(0)];
    lazy.server.bufferedBytes = 1 << 20;
    say(lazy, fetchKey(1), fetchKey(2));
    await settle();
    expect(cases(lazy)).toEqual(["welcome", "keyMade"]);
    // Another connection of the account goes on; what the first one asked for is not even made.
    await fetched(quick, 1);
    expect(cases(lazy)).toEqual(["welcome", "keyMade"]);
    lazy.server.bufferedBytes = 0;
    await until(() => heardOf(lazy, "keyPart").length === 4);
    await settle();
    expect(provider.waiting.bytes).toBe(0);
  });

  it("fail where memory is short, and go on when there is some; nothing stays held", async () => {
    const waiting = new WaitingBytes({ total: 2 << 20, share: 20_000 });
    const { open, provider } = start({ waiting });
    const client = await open();
    say(client, fetchKey(1));
    await until(() => failures(client).length === 1);
    expect(lastFailure(client)).toMatchObject({ code: too_many_requests.wire, keyRequestId: 1, queryId: 0 });
    expect(cases(client)).toEqual(["welcome", "keyMade", "failure"]);
    expect(client.closed).toBeUndefined();
    await settle();
    expect(provider.waiting.bytes).toBe(0);
  });

  it("for a key that was made before cost what a bundle costs", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const { open } = start();
    const client = await open();
    const { id } = await fetched(client, 1);
    for (let i = 0; i < 25; i++) {
      say(client, { case: "fetchBundle", value: {} });
      await settle(2);
    }
    say(client, fetchKey(2, id));
    await settle();
    expect(failures(client)[0]).toMatchObject({ code: too_many_requests.wire, keyRequestId: 2 });
    expect(heardOf(client, "bundlePart")).toHaveLength(25);
  });
});

describe("a key that is being made", () => {
  /** A pool whose parts the test ends. */
  function held() {
    const begun: (() => void)[] = [];
    const pool = {
      width: 1,
      leastProducts: Number.MAX_SAFE_INTEGER,
      compute: () => Promise.reject(new Error("no query is long")),
      makeKeyPart: () =>
        new Promise<never>((resolve) => {
          const part = {
            weights: new Uint8Array(4),
            hint: new Uint8Array(4),
            digest: new Uint8Array(32),
            signature: new Uint8Array(64),
            ms: 1,
          };
          begun.push(() => resolve(part as never));
        }),
      forget: () => {},
    };
    return { begun, pool };
  }

  it("does not keep its account's others waiting when its client goes", async () => {
    const { begun, pool } = held();
    const { open, provider } = start({ pool });
    const [gone, stays] = [await open(0), await open(0)];
    say(gone, fetchKey(1));
    await settle();
    say(stays, fetchKey(1));
    await settle();
    expect(begun).toHaveLength(1);
    gone.close(1000, "");
    await settle();
    begun.shift()?.();
    await settle();
    begun.shift()?.();
    await settle();
    begun.shift()?.();
    await settle();
    expect(cases(stays)).toEqual(["welcome", "keyMade", "keyPart", "keyPart"]);
    expect(cases(gone)).not.toContain("keyPart");
    expect(provider.waiting.bytes).toBe(0);
  });

  it("is the only one of its account, whatever connections ask and whatever the pool could do; others go on", async () => {
    const { begun, pool } = held();
    const { open } = start({ pool: { ...pool, width: 4 } });
    const clients = [await open(0), await open(0), await open(1)];
    for (const client of clients) say(client, fetchKey(1));
    await settle();
    // One of ann's two connections, and bob's.
    expect(begun).toHaveLength(2);
    for (let i = 0; i < 6; i++) {
      begun.shift()?.();
      await settle();
      expect(begun.length).toBeLessThanOrEqual(2);
    }
    for (const client of clients) expect(heardOf(client, "keyPart")).toHaveLength(2);
  });

  it("does not hold up draining, and new ones are not begun", async () => {
    const { begun, pool } = held();
    const { open, provider } = start({ pool });
    const client = await open();
    say(client, fetchKey(1));
    await settle();
    const drained = provider.drain();
    say(client, fetchKey(2));
    await drained;
    await settle();
    expect(cases(client)).toEqual(["welcome", "keyMade", "goodbye"]);
    begun.shift()?.();
    await settle();
    expect(begun).toHaveLength(0);
    expect([provider.openConnections, provider.waiting.bytes, provider.heldSecrets]).toEqual([0, 0, 0]);
  });

  it("fails alone when what computed it has died", async () => {
    const { pool } = held();
    const dying = { ...pool, makeKeyPart: () => Promise.reject(new Error("secret-detail")) };
    const { open, events } = start({ pool: dying });
    const client = await open();
    say(client, fetchKey(1));
    await settle();
    expect(failures(client)).toMatchObject([{ code: ERROR_KINDS.internal.wire, keyRequestId: 1 }]);
    expect(client.closed).toBeUndefined();
    expect(JSON.stringify([failures(client), events])).not.toContain("secret-detail");
  });
});

describe("without a store", () => {
  const anonymous = () => {
    const provider = new Provider([served]);
    const open = async (change: Record<string, unknown> = {}) => {
      const [client, server] = memorySockets();
      provider.accept(server);
      say(client, hello(change));
      await settle();
      return client;
    };
    return { provider, open };
  };

  it("keys are the connection's own and wear out", async () => {
    const { open } = anonymous();
    const [one, two] = [await open(), await open()];
    const key = await fetched(one, 1);
    const other = await fetched(two, 1);
    expect(other.id).toEqual(key.id);
    expect(bytesOf(other)).not.toEqual(bytesOf(key));
    const second = await fetched(one, 2);
    say(two, queryOf(1, second.id));
    say(one, queryOf(1, second.id, vectorsPerKey), queryOf(2, second.id));
    await until(() => heardOf(one, "answer").length === 1);
    expect(failures(two)).toMatchObject([{ code: unknown_key.wire, queryId: 1 }]);
    expect(failures(one)).toMatchObject([{ code: worn_key.wire, queryId: 2 }]);
    expect(bytesOf(await fetched(one, 3, key.id))).toEqual(bytesOf(key));
    // Each group is counted for itself, to its own last vector.
    say(one, queryOf(4, second.id, vectorsPerKey, { group: 1 }), queryOf(5, second.id, 1, { group: 1 }));
    await until(() => heardOf(one, "answer").length === 2);
    await settle();
    expect(heardOf(one, "answer").map(({ id }) => id)).toEqual([1, 4]);
    expect(lastFailure(one)).toMatchObject({ code: worn_key.wire, queryId: 5 });
  });

  it("keys of an earlier process are unknown", async () => {
    const first = await anonymous().open();
    const { id } = await fetched(first, 1);
    const later = await anonymous().open({ keyIds: [id] });
    expect(heard(later)[0].value).toMatchObject({ keys: [] });
    await fetched(later, 1);
    say(later, queryOf(1, id), fetchKey(2, id));
    await settle();
    expect(failures(later).map(({ code }) => code)).toEqual([unknown_key.wire, unknown_key.wire]);
  });
});
