/** What a client makes of providers that come and go, and of those that do not keep to what was agreed. */
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { between, type MemoryPlatform, memoryPlatform } from "../../test/support/memory-platform.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { concatBytes, toHex } from "../base/bytes.ts";
import type { MessageSocket } from "../base/platform.ts";
import type { CreatedBundle } from "../bundle/create-bundle.ts";
import { loadServedAdapter, Provider } from "../provider/provider.ts";
import { packedBytes } from "../ring/kernels.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import {
  type ClientMessage,
  decodeClientFrame,
  decodeProviderFrame,
  encodeClientFrame,
  encodeProviderFrame,
} from "../wire/frames.ts";
import type { Limits } from "../wire/limits.ts";
import type { BundleCache } from "./bundle-cache.ts";
import type { KeyCache } from "./key-cache.ts";
import { RemoteProvider } from "./remote-provider.ts";
import type { RemoteProviderOptions } from "./provider-options.ts";

const MAX = 64 << 20;
const URL = "ws://one";
const CIPHERTEXT = new Uint8Array(
  packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits),
).fill(7);

interface Made extends CreatedBundle {
  readonly provider: Provider;
}

async function serve(): Promise<Made> {
  const made = await tinyBundle();
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  return { ...made, provider: new Provider([await loadServedAdapter(memoryFileTree(files, "state"))]) };
}

let made: Made;
let other: Made;
let platform: MemoryPlatform;
beforeAll(async () => {
  made = await serve();
  other = await serve();
});
beforeEach(() => {
  platform = memoryPlatform();
  platform.hosts.set(URL, (socket) => made.provider.accept(socket));
});

const connect = (options: Partial<RemoteProviderOptions> = {}) =>
  RemoteProvider.connect(platform, {
    url: URL,
    baseFingerprint: new Uint8Array(32).fill(0x5a),
    reconnectMs: 0,
    ...options,
  });

/** Under the connection's own key: providers here know no accounts, so another connection needs another. */
let keys = new WeakMap<RemoteProvider, Uint8Array>();
async function ask(provider: RemoteProvider, vectors = 1, ciphertext = CIPHERTEXT) {
  let id = keys.get(provider);
  if (id === undefined) {
    ({ id } = await provider.fetchKey());
    keys.set(provider, id);
  }
  return await provider.query(0, vectors, ciphertext, id);
}

/** Accepts for a provider, and keeps what the client sent. */
function recorded(
  provider: Provider,
  sent: ClientMessage[],
  cut: (message: ClientMessage) => boolean = () => false,
) {
  return (socket: MessageSocket) => {
    const link = between(socket, {
      up(bytes) {
        const message = decodeClientFrame(bytes, MAX);
        sent.push(message);
        if (!cut(message)) return bytes;
        link.cut();
        return undefined;
      },
    });
    provider.accept(link.inner);
  };
}

/** A provider that serves its own bundle whatever digest a Hello insists on. */
function ignoresDigests({ provider }: Made, sent: ClientMessage[] = []) {
  return (socket: MessageSocket) => {
    const { inner } = between(socket, {
      up(bytes) {
        const message = decodeClientFrame(bytes, MAX);
        sent.push(message);
        if (message.case !== "hello") return bytes;
        const { version, baseFingerprint, adapter, token } = message.value;
        return encodeClientFrame({ case: "hello", value: { version, baseFingerprint, adapter, token } });
      },
    });
    provider.accept(inner);
  };
}

function memoryCache(entries = new Map<string, Uint8Array>()): BundleCache & { entries: typeof entries } {
  return {
    entries,
    get: async (digest) => entries.get(digest),
    async put(digest, bytes) {
      entries.set(digest, bytes);
    },
  };
}

describe("the bundle", () => {
  it("is fetched once and then comes from the cache", async () => {
    const cache = memoryCache();
    const progress: number[] = [];
    const first = await connect({ cache, onBundleProgress: (fraction) => progress.push(fraction) });
    expect(first.bundle.digest).toEqual(made.digest);
    expect(progress.at(-1)).toBe(1);
    expect([...cache.entries.keys()]).toEqual([toHex(made.digest)]);
    first.provider.close();

    const second = await connect({ cache, onBundleProgress: () => expect.fail("it was fetched again") });
    expect(second.bundle.digest).toEqual(made.digest);
    expect(second.provider.traffic.bytesDown).toBeLessThan(1000);
    second.provider.close();
  });

  it.each<[string, BundleCache]>([
    ["holds other bytes", memoryCache(new Map([[toHex(new Uint8Array(32)), new Uint8Array(9)]]))],
    ["fails to read", { get: () => Promise.reject(new Error("disk")), put: async () => {} }],
  ])("is fetched where the cache %s", async (_, cache) => {
    const { provider, bundle } = await connect({ cache });
    expect(bundle.digest).toEqual(made.digest);
    provider.close();
  });

  it("is fetched where the cache's entry is damaged, which is replaced", async () => {
    const cache = memoryCache(new Map([[toHex(made.digest), made.bundle.slice(0, -1)]]));
    const { provider, bundle } = await connect({ cache });
    expect(bundle.bytes).toEqual(made.bundle);
    expect(cache.entries.get(toHex(made.digest))).toEqual(made.bundle);
    provider.close();
  });

  it("is used, with a warning, where the cache cannot keep it", async () => {
    const onWarning = vi.fn();
    const cache = { get: async () => undefined, put: () => Promise.reject(new Error("disk full")) };
    const { provider } = await connect({ cache, onWarning });
    expect(onWarning).toHaveBeenCalledWith(expect.stringContaining("disk full"));
    provider.close();
  });

  it("is refused where its bytes are not those of the digest that was announced", async () => {
    platform.hosts.set(URL, (socket) => {
      const { inner } = between(socket, {
        down(bytes) {
          const message = decodeProviderFrame(bytes, MAX);
          if (message.case !== "welcome") return bytes;
          const { $typeName: _, ...value } = message.value;
          return encodeProviderFrame({ case: "welcome", value: { ...value, bundleDigest: other.digest } });
        },
      });
      made.provider.accept(inner);
    });
    await expect(connect()).rejects.toMatchObject({ code: "bad_bundle" });
  });
});

describe("a pinned digest", () => {
  it("is sent, and holds", async () => {
    const sent: ClientMessage[] = [];
    platform.hosts.set(URL, recorded(made.provider, sent));
    const { provider } = await connect({ pinnedDigest: toHex(made.digest) });
    expect(sent[0]).toMatchObject({ case: "hello", value: { bundleDigest: made.digest } });
    provider.close();
  });

  it("is refused by an honest provider that has another bundle", async () => {
    await expect(connect({ pinnedDigest: toHex(other.digest) })).rejects.toMatchObject({
      code: "bundle_changed",
    });
  });

  it("is held against a provider that ignores it: nothing is fetched, nothing asked", async () => {
    const sent: ClientMessage[] = [];
    platform.hosts.set(URL, ignoresDigests(made, sent));
    const cache = memoryCache();
    await expect(connect({ pinnedDigest: toHex(other.digest), cache })).rejects.toMatchObject({
      code: "bundle_changed",
      message: `the provider serves the bundle ${toHex(made.digest)}, not ${toHex(other.digest)}, which was asked for`,
      hint: expect.stringMatching(/^keep the digest unless/),
    });
    expect(sent.map((message) => message.case)).toEqual(["hello", "goodbye"]);
    expect(cache.entries.size).toBe(0);
  });

  it("of the bundle in use is held against a replica that ignores it", async () => {
    const sent: ClientMessage[] = [];
    const first: ClientMessage[] = [];
    platform.hosts.set(
      URL,
      recorded(made.provider, first, (message) => message.case === "query"),
    );
    platform.hosts.set("ws://two", ignoresDigests(other, sent));
    const { provider } = await connect({ url: [URL, "ws://two"], reconnectMs: 100 });
    await expect(ask(provider)).rejects.toMatchObject({ code: "bundle_changed" });
    expect(sent.map((message) => message.case)).not.toContain("query");
    provider.close();
  });
});

describe("a connection that is lost", () => {
  it("is replaced by one to the next replica, which gets the same bytes", async () => {
    const [one, two]: ClientMessage[][] = [[], []];
    platform.hosts.set(
      URL,
      recorded(made.provider, one, (message) => message.case === "query"),
    );
    platform.hosts.set("ws://two", recorded(made.provider, two));
    const { provider } = await connect({ url: [URL, "ws://two"], reconnectMs: 100 });
    // The key was the lost connection's. Whoever asked takes another (remote-adapter.ts).
    await expect(ask(provider)).rejects.toMatchObject({ code: "unknown_key" });
    const [lost, resent] = [one, two].map((sent) => {
      const query = sent.find((message) => message.case === "query");
      return query && { ...query.value, id: 0 }; // numbers are each connection's own
    });
    expect(resent).toEqual(lost);
    keys = new WeakMap();
    expect((await ask(provider)).words).toEqual((await ask(provider)).words);
    provider.close();
  });

  it("is opened once for all queries that wait for it", async () => {
    let cuts = 1;
    const cut = (message: ClientMessage) => message.case === "query" && cuts-- > 0;
    platform.hosts.set(URL, recorded(made.provider, [], cut));
    const { provider } = await connect({ reconnectMs: 500 });
    const { id } = await provider.fetchKey();
    const asked = [1, 2, 3].map(() => provider.query(0, 1, CIPHERTEXT, id).catch((error: unknown) => error));
    for (const error of await Promise.all(asked)) expect(error).toMatchObject({ code: "unknown_key" });
    expect(platform.tried).toEqual([URL, URL]);
    provider.close();
  });

  it("is given up after the time that the caller gives", async () => {
    platform.hosts.set(
      URL,
      recorded(made.provider, [], (message) => message.case === "query"),
    );
    const { provider } = await connect({ reconnectMs: 60 });
    platform.hosts.set(URL, (socket) => setTimeout(() => socket.close(1011, "busy"), 1));
    await expect(ask(provider)).rejects.toMatchObject({ code: "connection_lost" });
    platform.hosts.delete(URL);
    await expect(ask(provider)).rejects.toMatchObject({
      code: "connection_lost",
      message: expect.stringContaining("cannot be reached"),
    });
    provider.close();
  });

  it("is not opened again for a provider that takes queries and always goes away", async () => {
    platform.hosts.set(
      URL,
      recorded(made.provider, [], (message) => message.case === "query"),
    );
    const { provider } = await connect({ reconnectMs: 10_000 });
    await expect(ask(provider)).rejects.toMatchObject({ code: "connection_lost" });
    expect(platform.tried.length).toBeLessThanOrEqual(6);
    provider.close();
  });

  it.each<[string, Parameters<typeof encodeProviderFrame>[0]]>([
    ["says goodbye", { case: "goodbye", value: { reason: "" } }],
    ["says that it failed", { case: "failure", value: { code: 12, message: "", hint: "" } }],
  ])("is closed by the client where the provider %s and does not close it", async (_, last) => {
    let code: number | undefined;
    platform.hosts.set(URL, (socket) => {
      const { inner } = between(socket, {
        up(bytes) {
          if (decodeClientFrame(bytes, MAX).case !== "query") return bytes;
          socket.send(encodeProviderFrame(last));
          return undefined;
        },
      });
      made.provider.accept(inner);
      socket.onClose = (said) => {
        code = said;
        inner.onClose(said, "");
      };
    });
    const { provider } = await connect();
    const { id } = await provider.fetchKey();
    platform.hosts.delete(URL);
    await expect(provider.query(0, 1, CIPHERTEXT, id)).rejects.toBeDefined();
    await vi.waitFor(() => expect(code).toBe(1000), 5000);
    provider.close();
  });

  it("is not opened again after close()", async () => {
    const { provider } = await connect({ reconnectMs: 1000 });
    provider.close();
    await expect(ask(provider)).rejects.toMatchObject({ code: "connection_lost" });
    expect(platform.tried).toEqual([URL]);
  });
});

describe("a key that is fetched", () => {
  it("is asked for again, the same one, where the connection is lost while it comes", async () => {
    const sent: ClientMessage[] = [];
    let cuts = 1;
    platform.hosts.set(URL, (socket) => {
      const link = between(socket, {
        up(bytes) {
          sent.push(decodeClientFrame(bytes, MAX));
          return bytes;
        },
        down(bytes) {
          if (decodeProviderFrame(bytes, MAX).case !== "keyPart" || cuts-- <= 0) return bytes;
          link.cut();
          return undefined;
        },
      });
      made.provider.accept(link.inner);
    });
    const { provider } = await connect({ reconnectMs: 500 });
    const key = await provider.fetchKey();
    expect(key.groups).toHaveLength(2);
    const asked = sent.flatMap((message) =>
      message.case === "fetchKey" ? [message.value.keyId.length] : [],
    );
    // A provider without accounts has forgotten it with the connection, so a new one is asked for.
    expect(asked).toEqual([0, 16, 0]);
    provider.close();
  });

  it("is waited for where the provider makes no more for now", async () => {
    let refusals = 2;
    platform.hosts.set(URL, (socket) => {
      const { inner } = between(socket, {
        up(bytes) {
          const message = decodeClientFrame(bytes, MAX);
          if (message.case !== "fetchKey" || refusals-- <= 0) return bytes;
          const value = { code: 9, message: "later", hint: "", keyRequestId: message.value.id };
          socket.send(encodeProviderFrame({ case: "failure", value }));
          return undefined;
        },
      });
      made.provider.accept(inner);
    });
    const { provider } = await connect();
    expect((await provider.fetchKey()).vectorsLeft).toBe(240);
    provider.close();
  });

  it("comes again as the same bytes, and a key that is not there is refused, not replaced", async () => {
    const { provider } = await connect();
    const key = await provider.fetchKey();
    const again = await provider.fetchKey(key.id);
    expect(again.id).toEqual(key.id);
    expect(again.groups).toEqual(key.groups);
    await expect(provider.fetchKey(new Uint8Array(16))).rejects.toMatchObject({ code: "unknown_key" });
    provider.close();
  });
});

describe("keys that are kept", () => {
  /** Which accounts a client looks for, of keys that were kept, and what it keeps. */
  function watched() {
    const accounts: string[] = [];
    const keyCache: KeyCache = {
      async list(account) {
        accounts.push(account);
        return [];
      },
      get: async () => undefined,
      put: async ({ account }) => void accounts.push(account),
      remove: async () => {},
    };
    return { accounts, keyCache };
  }

  it("belong to the token, the adapter and the provider's URLs, none of which their place says", async () => {
    const { accounts, keyCache } = watched();
    platform.hosts.set("ws://two", (socket) => made.provider.accept(socket));
    const options = [
      { token: "a-long-token" },
      { token: "another-token" },
      { token: "a-long-token", adapter: "tiny" },
      { token: "a-long-token", url: "ws://two" },
      { token: "a-long-token", url: ["ws://one", "ws://two"] },
    ];
    for (const each of [...options, options[0]]) (await connect({ keyCache, ...each })).provider.close();
    expect(accounts.every((account) => /^[0-9a-f]{32}$/.test(account))).toBe(true);
    expect(new Set(accounts).size).toBe(options.length);
    expect(accounts.at(-1)).toBe(accounts[0]);
  });

  it("are none without a token: another connection could not use them", async () => {
    const { accounts, keyCache } = watched();
    const { provider } = await connect({ keyCache });
    await provider.fetchKey();
    expect(accounts).toEqual([]);
    provider.close();
  });
});

describe("a replica with smaller limits", () => {
  const vectors = 5;
  const long = Uint8Array.from({ length: vectors * CIPHERTEXT.length }, (_, i) => i >> 3);

  /** The first provider goes away with the first query; the second has these limits. */
  async function moved(limits: Partial<Limits>, sent: ClientMessage[] = []) {
    const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
    const adapter = await loadServedAdapter(memoryFileTree(files, "state"));
    const failed: string[] = [];
    const second = new Provider([adapter], {
      limits,
      onEvent: (event) => event.type === "failed" && failed.push(event.code),
    });
    platform.hosts.set(
      URL,
      recorded(made.provider, [], (message) => message.case === "query"),
    );
    platform.hosts.set("ws://two", recorded(second, sent));
    const { provider } = await connect({ url: [URL, "ws://two"], reconnectMs: 100 });
    return { provider, failed };
  }

  /** What the provider answers to each vector by itself. */
  async function oneByOne(provider: RemoteProvider): Promise<Uint8Array> {
    const size = CIPHERTEXT.length;
    const words: Uint8Array[] = [];
    for (let t = 0; t < vectors; t++) {
      words.push((await ask(provider, 1, long.subarray(t * size, (t + 1) * size))).words);
    }
    return concatBytes(...words);
  }

  /** Loses the connection with a query, whose key goes with it. */
  async function move(provider: RemoteProvider): Promise<void> {
    await expect(ask(provider, vectors, long)).rejects.toMatchObject({ code: "unknown_key" });
    keys = new WeakMap();
  }

  it("gets an open query in parts, each vector the bytes that it was", async () => {
    const sent: ClientMessage[] = [];
    const { provider } = await moved({ maxVectors: 2 }, sent);
    expect(provider.limits.maxVectors).toBe(240);
    await move(provider);
    expect(provider.limits.maxVectors).toBe(2);
    const queries = sent.flatMap((message) => (message.case === "query" ? [message.value] : []));
    expect(queries.map((query) => query.vectors)).toEqual([2, 2, 1]);
    expect(concatBytes(...queries.map(({ ciphertext }) => ciphertext))).toEqual(long);
    expect((await ask(provider, vectors, long)).words).toEqual(await oneByOne(provider));
    provider.close();
  });

  it("gets messages that it reads", async () => {
    const { provider } = await moved({
      maxMessageBytes: Math.floor(2.5 * CIPHERTEXT.length) + 1024,
    });
    await move(provider);
    expect((await ask(provider, vectors, long)).words).toEqual(await oneByOne(provider));
    provider.close();
  });

  it("gets no more queries at a time than it takes", async () => {
    const { provider, failed } = await moved({ maxInFlight: 2, maxVectors: 1 });
    await move(provider);
    failed.length = 0;
    const expected = await oneByOne(provider);
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(provider, vectors, long)));
    for (const { words } of answers) expect(words).toEqual(expected);
    expect(failed).toEqual([]);
    provider.close();
  });

  it("that always goes away is not tried more often for a query in parts", async () => {
    const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
    const adapter = await loadServedAdapter(memoryFileTree(files, "state"));
    const small = new Provider([adapter], { limits: { maxVectors: 1 } });
    platform.hosts.set(
      URL,
      recorded(small, [], (message) => message.case === "query"),
    );
    const { provider } = await connect({ reconnectMs: 10_000 });
    await expect(ask(provider, vectors, long)).rejects.toMatchObject({ code: "connection_lost" });
    expect(platform.tried.length).toBeLessThanOrEqual(6);
    provider.close();
  });

  it("that takes not even one vector is told so", async () => {
    platform.hosts.set(URL, (socket) => {
      const { inner } = between(socket, {
        down(bytes) {
          const message = decodeProviderFrame(bytes, MAX);
          if (message.case !== "welcome") return bytes;
          const { $typeName: _, ...value } = message.value;
          const limits = { maxMessageBytes: 2000, maxVectors: 1, maxInFlight: 1 };
          return encodeProviderFrame({ case: "welcome", value: { ...value, limits } });
        },
      });
      made.provider.accept(inner);
    });
    const { provider } = await connect();
    await expect(ask(provider, vectors, long)).rejects.toMatchObject({
      code: "too_large",
      message: expect.stringContaining("takes 2000"),
    });
    provider.close();
  });
});

describe("options", () => {
  const HEX = toHex(new Uint8Array(32).fill(0xab));

  it.each<[keyof RemoteProviderOptions, readonly unknown[]]>([
    ["pinnedDigest", ["", "ab", HEX.slice(2), `${HEX}00`, ` ${HEX}`, `0x${HEX.slice(2)}`, null, 7]],
    ["providerKey", ["", "ab", HEX.slice(2), `${HEX}00`, `${HEX}\n`, null]],
    ["token", ["", null, 7]],
    ["handshakeMs", [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "10"]],
    ["silenceMs", [0, Number.NaN, Number.POSITIVE_INFINITY]],
    ["reconnectMs", [-1, Number.NaN, Number.POSITIVE_INFINITY]],
    ["pollMicros", [-1, Number.NaN, 1_000_001]],
  ])(
    "whose value would turn them off are refused by name, before anything is sent: %s",
    async (name, values) => {
      for (const value of values) {
        await expect(connect({ [name]: value })).rejects.toMatchObject({
          code: "bad_argument",
          message: expect.stringContaining(name),
        });
      }
      expect(platform.tried).toEqual([]);
    },
  );

  it("of hex digits may have either case", async () => {
    const { provider } = await connect({ pinnedDigest: toHex(made.digest).toUpperCase() });
    provider.close();
  });

  it("of polling reach the platform", async () => {
    const { provider } = await connect({ pollMicros: 0 });
    expect(platform.options).toMatchObject({ pollMicros: 0 });
    provider.close();
  });
});

describe("connecting", () => {
  it("goes on to the next URL where one cannot be reached", async () => {
    const { provider } = await connect({ url: ["ws://nowhere", URL] });
    expect(platform.tried).toEqual(["ws://nowhere", URL]);
    provider.close();
  });

  it("does not try another replica where one refuses: they are all alike", async () => {
    platform.hosts.set("ws://two", (socket) => made.provider.accept(socket));
    const refused = connect({ url: [URL, "ws://two"], adapter: "nothing" });
    await expect(refused).rejects.toMatchObject({ code: "unknown_adapter" });
    expect(platform.tried).toEqual([URL]);
  });

  it("fails where no URL answers, and where there is none", async () => {
    await expect(connect({ url: "ws://nowhere" })).rejects.toMatchObject({ code: "connection_failed" });
    await expect(connect({ url: [] })).rejects.toThrow(RangeError);
  });
});
