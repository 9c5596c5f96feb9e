/** Private layers over a real provider in this process: results, keys that run out, keys that are refused. */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { between, type MemoryPlatform, memoryPlatform } from "../../test/support/memory-platform.ts";
import { memoryThreads } from "../../test/support/memory-threads.ts";
import { gaussianSource } from "../../test/support/pll-layer.ts";
import { tinyAdapter, tinyBundle } from "../../test/support/tiny-bundle.ts";
import { toHex } from "../base/bytes.ts";
import type { EncryptionPlatform, MessageSocket } from "../base/platform.ts";
import { type CreatedBundle, createBundle } from "../bundle/create-bundle.ts";
import { mergeLora } from "../pll/lora-split.ts";
import { loadServedAdapter, Provider } from "../provider/provider.ts";
import { systemRandom } from "../ring/random-source.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import {
  type ClientMessage,
  decodeClientFrame,
  decodeProviderFrame,
  encodeProviderFrame,
  type ProviderMessage,
} from "../wire/frames.ts";
import type { Done } from "./encryption/messages.ts";
import { RemoteAdapter } from "./remote-adapter.ts";
import { RemoteProvider } from "./remote-provider.ts";
import type { RemoteProviderOptions } from "./provider-options.ts";

const MAX = 64 << 20;
const URL = "ws://one";
const WORN = 17;
const UNKNOWN = 16;

let made: CreatedBundle;
let platform: MemoryPlatform;
/** What clients have sent. */
let sent: ClientMessage[];
/** Changes or withholds (undefined) what the provider sends, or cuts the connection. */
let down: (message: ProviderMessage, bytes: Uint8Array) => Uint8Array | "cut" | undefined;
/** Sends a client what was withheld. */
let deliver: (bytes: Uint8Array) => void;
/** Looks at what a client sends; "cut" ends the connection, another value answers for the provider. */
let up: (message: ClientMessage) => Uint8Array | "cut" | undefined;
const opened: { adapter: RemoteAdapter; provider: RemoteProvider }[] = [];

beforeAll(async () => {
  made = await tinyBundle();
});
beforeEach(async () => {
  platform = memoryPlatform();
  sent = [];
  down = (_, bytes) => bytes;
  up = () => undefined;
  platform.hosts.set(URL, await serve());
});
afterEach(() => {
  for (const { adapter, provider } of opened.splice(0)) {
    provider.close();
    adapter.dispose();
  }
});

async function serve(): Promise<(socket: MessageSocket) => void> {
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  const provider = new Provider([await loadServedAdapter(memoryFileTree(files, "state"))]);
  return (socket) => {
    deliver = (bytes) => socket.send(bytes);
    const link = between(socket, {
      up(bytes) {
        const message = decodeClientFrame(bytes, MAX);
        sent.push(message);
        const change = up(message);
        if (change === undefined) return bytes;
        if (change === "cut") link.cut();
        else socket.send(change);
        return undefined;
      },
      down(bytes) {
        const changed = down(decodeProviderFrame(bytes, MAX), bytes);
        if (changed !== "cut") return changed;
        link.cut();
        return undefined;
      },
    });
    provider.accept(link.inner);
  };
}

async function open(options: Partial<RemoteProviderOptions> = {}, encryption?: EncryptionPlatform) {
  const { provider, bundle } = await RemoteProvider.connect(platform, {
    url: URL,
    baseFingerprint: new Uint8Array(32).fill(0x5a),
    reconnectMs: 500,
    ...options,
  });
  const { vectorsPerKey } = provider.welcome;
  const adapter = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey, encryption);
  opened.push({ adapter, provider });
  return { adapter, provider };
}

const gaussian = gaussianSource(5);
const vectorsOf = (count: number, n: number) => Float32Array.from({ length: count * n }, gaussian);

/** Largest error of a group's deltas, as part of their largest value. */
async function errorOf(adapter: RemoteAdapter, group: number, tokens: number): Promise<number> {
  const { modules, inFeatures, outFeatures } = adapter.groups[group];
  const x = vectorsOf(tokens, inFeatures);
  const deltas = await adapter.begin(group, x, tokens).wait();
  let [error, size] = [0, 0];
  for (const [i, name] of modules.entries()) {
    const matrix = mergeLora(tinyAdapter().modules.get(name)!);
    for (let t = 0; t < tokens; t++) {
      for (let row = 0; row < outFeatures[i]; row++) {
        let want = 0;
        for (let k = 0; k < inFeatures; k++) want += matrix[row * inFeatures + k] * x[t * inFeatures + k];
        error = Math.max(error, Math.abs(deltas[i][t * outFeatures[i] + row] - want));
        size = Math.max(size, Math.abs(want));
      }
    }
  }
  return error / size;
}

it("that is disposed of before somebody waits for what was asked fails as the connection does", async () => {
  const { adapter, provider } = await open();
  await adapter.restoreKeys();
  await errorOf(adapter, 0, 1);
  down = () => undefined;
  const x = vectorsOf(1, adapter.groups[0].inFeatures);
  const pending = adapter.begin(0, x, 1);
  provider.close();
  adapter.dispose();
  await expect(pending.wait()).rejects.toMatchObject({ code: "connection_lost" });
});

const queries = () => sent.flatMap((message) => (message.case === "query" ? [message.value] : []));
const fetches = () => sent.filter((message) => message.case === "fetchKey").length;

describe("an embedding", () => {
  const VOCABULARY = 200_000; // 41 one-hots are 32 MiB
  const [RANK, WIDTH] = [2, 24];
  const embedding = {
    ...{ rank: RANK, inFeatures: VOCABULARY, outFeatures: WIDTH, scale: 1, isEmbedding: true },
    a: Float32Array.from({ length: RANK * VOCABULARY }, (_, i) => Math.sin(1.3 * i)),
    b: Float32Array.from({ length: WIDTH * RANK }, (_, i) => Math.cos(i)),
  };

  async function openEmbedding() {
    const modules = new Map([["m.embed", embedding]]);
    const groups = [{ layer: 0, modules: ["m.embed"], inFeatures: VOCABULARY, input: "ids" as const }];
    const plain = made;
    try {
      made = await createBundle({ ...tinyAdapter(), groups, modules }, systemRandom);
      platform.hosts.set(URL, await serve());
    } finally {
      made = plain;
    }
    return await open();
  }

  it("gives the delta of each token, those of a long prompt in turn", async () => {
    const { adapter } = await openEmbedding();
    const ids = Array.from({ length: 50 }, (_, i) => (i * 49_999) % VOCABULARY);
    const [delta] = await adapter.beginIds(0, ids).wait();
    let [error, size] = [0, 0];
    for (const [t, id] of ids.entries()) {
      for (let row = 0; row < WIDTH; row++) {
        let want = 0;
        for (let k = 0; k < RANK; k++) want += embedding.b[row * RANK + k] * embedding.a[k * VOCABULARY + id];
        error += (delta[t * WIDTH + row] - want) ** 2;
        size += want ** 2;
      }
    }
    // docs/models.md, Embedding: it grows with the vocabulary.
    expect(Math.sqrt(error / size)).toBeLessThan(0.1);
    expect(queries().map(({ vectors }) => vectors)).toEqual([41, 9]);
  });

  it("asks nothing more when nobody waits", async () => {
    const { adapter } = await openEmbedding();
    const pending = adapter.beginIds(
      0,
      Array.from({ length: 50 }, (_, i) => i),
    );
    pending.drop?.();
    await expect(pending.wait()).rejects.toMatchObject({ code: "aborted" });
    expect(queries()).toHaveLength(1);
  });
});

describe("a private layer", () => {
  it("gives the adapter's deltas, for one vector and for many", async () => {
    const { adapter } = await open();
    for (const tokens of [1, 3, 100]) {
      for (const group of [0, 1]) expect(await errorOf(adapter, group, tokens)).toBeLessThan(2 ** -6);
    }
  });

  it("goes on over several keys, each asked for no more than it answers", async () => {
    const { adapter, provider } = await open();
    const tokens = 900;
    expect(await errorOf(adapter, 0, tokens)).toBeLessThan(2 ** -6);
    expect(await errorOf(adapter, 1, tokens)).toBeLessThan(2 ** -6);
    const used = new Map<string, number>();
    for (const { group, keyId, vectors } of queries()) {
      const name = `${group} ${toHex(keyId)}`;
      used.set(name, (used.get(name) ?? 0) + vectors);
    }
    expect(Math.max(...used.values())).toBeLessThanOrEqual(256);
    // The same keys for both groups, and at most one ahead.
    expect(fetches()).toBeLessThanOrEqual(Math.ceil(tokens / 256) + 1);
    expect(provider.traffic.keys).toBeLessThanOrEqual(fetches());
  });

  it("asks no more of a key than its parameters say, whatever the provider says of it", async () => {
    down = (message, bytes) => {
      if (message.case !== "welcome" && message.case !== "keyMade") return bytes;
      const { $typeName: _, ...value } = message.value as { $typeName: string };
      const more = message.case === "welcome" ? { vectorsPerKey: 10_000 } : { vectorsLeft: 10_000 };
      return encodeProviderFrame({ case: message.case, value: { ...value, ...more } } as never);
    };
    const { adapter } = await open();
    expect(await errorOf(adapter, 0, 500)).toBeLessThan(2 ** -6);
    const used = new Map<string, number>();
    for (const { keyId, vectors } of queries())
      used.set(toHex(keyId), (used.get(toHex(keyId)) ?? 0) + vectors);
    expect(Math.max(...used.values())).toBeLessThanOrEqual(240);
    expect(used.size).toBe(3);
  });

  it("counts keys apart from queries", async () => {
    const { adapter, provider } = await open();
    await errorOf(adapter, 0, 1);
    const { keys, keyBytes, bytesUp, bytesDown, roundTrips } = provider.traffic;
    expect({ keys, roundTrips }).toEqual({ keys: 1, roundTrips: 1 });
    // r·(27·n + 24·2048)/8 and one signature.
    const expected = (6 * (27 * 24 + 24 * 2048)) / 8 + (3 * (27 * 40 + 24 * 2048)) / 8 + 64;
    expect(keyBytes).toBeGreaterThan(expected);
    expect(keyBytes).toBeLessThan(expected + 200);
    expect(bytesUp).toBeLessThan(4_800);
    expect(bytesDown).toBeLessThan(made.bundle.length + 500);
  });
});

describe("a key that the provider refuses", () => {
  const failure = (code: number, queryId: number) =>
    encodeProviderFrame({ case: "failure", value: { code, message: "no", hint: "", queryId } });

  it.each([
    ["worn out", WORN],
    ["unknown", UNKNOWN],
  ])("because it is %s is replaced, and the same bytes are asked again", async (_, code) => {
    const { adapter } = await open();
    let refusals = 1;
    up = (message) =>
      message.case === "query" && refusals-- > 0 ? failure(code, message.value.id) : undefined;
    expect(await errorOf(adapter, 1, 1)).toBeLessThan(2 ** -6);
    const [first, second, ...more] = queries();
    expect(more).toEqual([]);
    expect(second.ciphertext).toEqual(first.ciphertext);
    expect(second.keyId).not.toEqual(first.keyId);
  });

  it("as all before it is the query's failure, after four new keys", async () => {
    const { adapter } = await open();
    up = (message) => (message.case === "query" ? failure(WORN, message.value.id) : undefined);
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({
      code: "worn_key",
      message: expect.stringContaining("refuses the keys that it makes"),
    });
    expect(queries()).toHaveLength(5);
    expect(new Set(queries().map(({ ciphertext }) => toHex(ciphertext))).size).toBe(1);
    up = () => undefined;
    expect(await errorOf(adapter, 0, 1)).toBeLessThan(2 ** -6);
  });

  it("does not fail a query for the keys in hand, however many are refused", async () => {
    const { adapter } = await open();
    await errorOf(adapter, 0, 1);
    // The provider begins again: it knows none of the keys any more.
    platform.hosts.set(URL, await serve());
    let cuts = 1;
    up = (message) => (message.case === "query" && cuts-- > 0 ? "cut" : undefined);
    expect(await errorOf(adapter, 0, 1)).toBeLessThan(2 ** -6);
    expect(await errorOf(adapter, 1, 300)).toBeLessThan(2 ** -6);
  });

  it("because connections go all the time is their failure, after four", async () => {
    const { adapter } = await open();
    // Of two queries the first is lost with its connection; the next connection does not know its key.
    up = (message) => (message.case === "query" && queries().length % 2 === 1 ? "cut" : undefined);
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({
      code: "connection_lost",
    });
    expect(queries()).toHaveLength(8);
    expect(new Set(queries().map(({ ciphertext }) => toHex(ciphertext))).size).toBe(1);
  });

  it("has gone with its connection, and so have those beside it, of which the next Welcome says nothing", async () => {
    const { adapter } = await open();
    await errorOf(adapter, 0, 500);
    const before = queries().length;
    let cuts = 1;
    up = (message) => (message.case === "query" && cuts-- > 0 ? "cut" : undefined);
    expect(await errorOf(adapter, 1, 1)).toBeLessThan(2 ** -6);
    // Cut; refused over the next connection; answered under a new key: no other old one is tried.
    expect(queries().length - before).toBe(3);
  });

  it("another failure is not a reason to try again", async () => {
    const { adapter } = await open();
    up = (message) => (message.case === "query" ? failure(14, message.value.id) : undefined);
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({
      code: "budget_exhausted",
    });
    expect(queries()).toHaveLength(1);
  });
});

describe("a key that comes in pieces", () => {
  it("is asked for again where the connection is lost before, and while it comes", async () => {
    const { adapter } = await open();
    let cuts = 2;
    down = (message, bytes) => {
      if (message.case === "keyMade" && cuts === 2) {
        cuts--;
        return "cut";
      }
      if (message.case === "keyPart" && cuts === 1) {
        cuts--;
        return "cut";
      }
      return bytes;
    };
    expect(await errorOf(adapter, 0, 1)).toBeLessThan(2 ** -6);
    expect(cuts).toBe(0);
  });

  it.each<[string, Record<string, unknown>]>([
    ["with a bit changed", { change: 1 }],
    ["that is too short", { cut: 1 }],
    ["without a signature", { signature: new Uint8Array(0) }],
    ["signed by somebody else", { signature: new Uint8Array(64).fill(3) }],
    ["that has no bytes", { weights: new Uint8Array(0) }],
    ["for another group", { group: 7 }],
  ])("%s is refused by name, and nothing is asked under it", async (_, change) => {
    const { adapter } = await open();
    down = (message, bytes) => {
      if (message.case !== "keyPart" || message.value.group !== 1) return bytes;
      const { $typeName: _, ...value } = message.value;
      const weights = value.weights.slice();
      if (change.change) weights[9] ^= 1;
      const changed = change.cut ? { weights: weights.subarray(1) } : change.change ? { weights } : change;
      return encodeProviderFrame({ case: "keyPart", value: { ...value, ...changed } });
    };
    const code = change.group === undefined ? "bad_key" : "bad_frame";
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({ code });
    expect(queries()).toEqual([]);
  });

  it("nothing is asked under it before its last part has come, and the signature with it", async () => {
    const { adapter } = await open();
    let held: Uint8Array | undefined;
    down = (message, bytes) => {
      if (message.case !== "keyPart" || message.value.group !== 1) return bytes;
      held = bytes.slice();
      return undefined;
    };
    const pending = adapter.begin(0, vectorsOf(1, 24), 1).wait();
    await vi.waitFor(() => expect(held).toBeDefined());
    // What came before would do for a query of group 0.
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(queries()).toEqual([]);
    deliver(held as Uint8Array);
    await pending;
    expect(queries()).toHaveLength(1);
  });

  it("that is asked for again is that one: another in its place is refused", async () => {
    const { adapter } = await open();
    let cuts = 1;
    down = (message, bytes) => (message.case === "keyPart" && cuts-- > 0 ? "cut" : bytes);
    up = (message) =>
      message.case === "fetchKey" && message.value.keyId.length > 0
        ? encodeProviderFrame({
            case: "keyMade",
            value: { id: message.value.id, keyId: new Uint8Array(16).fill(7), vectorsLeft: 240 },
          })
        : undefined;
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({ code: "bad_key" });
    expect(queries()).toEqual([]);
  });

  it.each([0, 15, 17])("whose id has %i bytes is refused", async (length) => {
    const { adapter } = await open();
    down = (message, bytes) => {
      if (message.case !== "keyMade") return bytes;
      const { $typeName: _, ...value } = message.value;
      return encodeProviderFrame({ case: "keyMade", value: { ...value, keyId: new Uint8Array(length) } });
    };
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({ code: "bad_key" });
  });

  it("two whose parts are exchanged are refused", async () => {
    const { adapter } = await open();
    const parts: ProviderMessage[] = [];
    down = (message, bytes) => {
      if (message.case !== "keyPart") return bytes;
      parts.push(message);
      const { $typeName: _, ...value } = message.value;
      const other = parts.find((part) => part.case === "keyPart" && part.value.group === value.group)!;
      if (other.case !== "keyPart" || other === message) return bytes;
      const { weights, hint, signature } = other.value;
      return encodeProviderFrame({ case: "keyPart", value: { ...value, weights, hint, signature } });
    };
    await expect(adapter.begin(0, vectorsOf(600, 24), 600).wait()).rejects.toMatchObject({ code: "bad_key" });
  });

  it("with fewer vectors than a key has is refused: it would be fetched for nothing", async () => {
    const { adapter } = await open();
    down = (message, bytes) => {
      if (message.case !== "keyMade") return bytes;
      const { $typeName: _, ...value } = message.value;
      return encodeProviderFrame({ case: "keyMade", value: { ...value, vectorsLeft: 0 } });
    };
    await expect(adapter.begin(0, vectorsOf(1, 24), 1).wait()).rejects.toMatchObject({ code: "bad_key" });
  });
});

describe("encryption in other threads", () => {
  const QUERY_BYTES = 4550;
  /** Every vector that was sent, as text. */
  const sentVectors = () =>
    queries().flatMap(({ ciphertext, vectors }) =>
      Array.from({ length: vectors }, (_, t) =>
        toHex(ciphertext.subarray(t * QUERY_BYTES, (t + 1) * QUERY_BYTES)),
      ),
    );

  async function openReady(...given: Parameters<typeof memoryThreads>) {
    const threads = memoryThreads(...given);
    const { adapter } = await open({}, threads);
    // The first prompt starts them.
    await errorOf(adapter, 0, 40);
    await vi.waitFor(async () => {
      await errorOf(adapter, 0, 40);
      expect(threads.started.some(({ made }) => made.length > 0)).toBe(true);
    });
    sent = [];
    return { adapter, threads };
  }

  it("gives the same deltas, and every thread makes a part of a prompt", async () => {
    const { adapter, threads } = await openReady(4);
    for (const tokens of [1, 17, 32, 100, 300]) {
      for (const group of [0, 1]) expect(await errorOf(adapter, group, tokens)).toBeLessThan(2 ** -6);
    }
    expect(threads.started.map(({ made }) => made.length > 3)).toEqual([true, true]);
    expect(adapter.encryption).toEqual({ threads: 2 });
    expect(adapter.timings.threadMs).toBeGreaterThan(0);
  });

  it.each(["die-before", "die-after", "fail"] as const)(
    "no mask serves twice, and no delta is wrong, where threads end or fail (%s)",
    async (fate) => {
      // Every third job; what the thread had made is captured, sent or not.
      const { adapter, threads } = await openReady(2, (job) => (job % 3 === 2 ? fate : "answer"));
      const { inFeatures } = adapter.groups[0];
      // The same x everywhere: under the same mask it would be the same bytes.
      const x = new Float32Array(128 * inFeatures).fill(0.25);
      for (let i = 0; i < 6; i++) {
        const [delta] = await adapter.begin(0, x, 128).wait();
        const [first] = await adapter.begin(0, x.subarray(0, inFeatures), 1).wait();
        const width = first.length;
        for (let t = 0; t < 128; t++) {
          const row = delta.subarray(t * width, (t + 1) * width);
          for (const [k, value] of row.entries()) expect(Math.abs(value - first[k])).toBeLessThan(0.1);
        }
      }
      const vectors = sentVectors();
      expect(vectors).toHaveLength(6 * 129);
      expect(new Set(vectors).size).toBe(vectors.length);
      // Secrets of all queries that threads have made, those of lost jobs too.
      const secrets = threads.started.flatMap(({ made }) =>
        made.flatMap(({ query }) => {
          if (!query) return [];
          return Array.from({ length: query.vectors }, (_, t) =>
            query.secrets.subarray(t * 2048, (t + 1) * 2048).join(),
          );
        }),
      );
      expect(secrets.length).toBeGreaterThan(100);
      expect(new Set(secrets).size).toBe(secrets.length);
      // A query of a lost job is not sent beside the one that was made for it here.
      const made = threads.started.flatMap(({ made }) => made.flatMap(({ query }) => query?.bytes ?? []));
      const lost = made.filter((bytes) => !vectors.includes(toHex(bytes.subarray(0, QUERY_BYTES))));
      if (fate !== "die-after") expect(lost.length).toBeGreaterThan(0);
    },
  );

  it("refuse x of another length than its vectors, and a query of other vectors than it was to have", async () => {
    const { adapter, threads } = await openReady(2);
    const { inFeatures } = adapter.groups[0];
    for (const length of [127 * inFeatures, 128 * inFeatures - 1, 129 * inFeatures])
      expect(() => adapter.begin(0, new Float32Array(length), 128)).toThrow(RangeError);
    expect(queries()).toHaveLength(0);
    threads.change = (done) => ({ ...done, query: { ...done.query!, vectors: done.query!.vectors - 1 } });
    await expect(adapter.begin(0, vectorsOf(128, inFeatures), 128).wait()).rejects.toThrow("another query");
    expect(queries()).toHaveLength(1);
  });

  it("gives the same deltas where no thread can be started", async () => {
    const refuse = () => {
      throw new Error("not here");
    };
    const { adapter } = await open({}, { cores: 8, start: refuse });
    expect(await errorOf(adapter, 0, 128)).toBeLessThan(2 ** -6);
    expect(adapter.encryption).toEqual({ threads: 0, reason: "no thread could be started" });
  });

  it("an embedding's one-hots stay until a thread that is lost has been replaced", async () => {
    const threads = memoryThreads(2, (job) => (job > 0 ? "die-before" : "answer"));
    const { adapter } = await open({}, threads);
    await errorOf(adapter, 0, 40);
    await vi.waitFor(async () => {
      expect(await errorOf(adapter, 0, 40)).toBeLessThan(2 ** -6);
      expect(adapter.encryption.reason).toBe("it died");
    });
  });

  it("what a thread makes of a prompt that has failed is not sent", async () => {
    let isSilent = false;
    const { adapter, threads } = await openReady(2, () => (isSilent ? "silence" : "answer"));
    isSilent = true;
    const BUDGET = 14;
    up = (message) => {
      if (message.case !== "query") return undefined;
      const { id: queryId } = message.value;
      const value = { code: BUDGET, message: "no", hint: "", queryId };
      return encodeProviderFrame({ case: "failure", value });
    };
    const { inFeatures } = adapter.groups[0];
    const jobs = threads.started[0].jobs;
    const pending = adapter.begin(0, vectorsOf(128, inFeatures), 128);
    await expect(pending.wait()).rejects.toMatchObject({ code: "budget_exhausted" });
    await vi.waitFor(() => expect(threads.started[0].jobs).toBe(jobs + 1));
    up = () => undefined;
    threads.started[0].deliver();
    await pending.asked;
    expect(queries()).toHaveLength(1);
    // And the thread goes on.
    isSilent = false;
    expect(await errorOf(adapter, 0, 128)).toBeLessThan(2 ** -6);
    expect(threads.started).toHaveLength(1);
  });

  it.each(["answer", "fail"] as const)("what nobody waits for is not sent (threads %s)", async (fate) => {
    let isLate = false;
    const { adapter, threads } = await openReady(2, () => (isLate ? "silence" : "answer"));
    isLate = true;
    threads.change = (done) => (fate === "fail" ? { ...done, query: undefined } : done);
    const { inFeatures } = adapter.groups[0];
    const x = vectorsOf(128, inFeatures);
    const jobs = threads.started[0].jobs;
    const pending = adapter.begin(0, x, 128);
    pending.drop!();
    // Its memory is another one's from now on.
    x.fill(0);
    const waited = expect(pending.wait()).rejects.toMatchObject({ code: "aborted" });
    await vi.waitFor(() => expect(threads.started[0].jobs).toBe(jobs + 1));
    threads.started[0].deliver();
    await waited;
    expect(queries()).toHaveLength(1);
    isLate = false;
    threads.change = (done) => done;
    expect(await errorOf(adapter, 0, 128)).toBeLessThan(2 ** -6);
  });

  /** Answers for the provider that it does not know the key. */
  const refuse = (message: ClientMessage) =>
    message.case === "query"
      ? encodeProviderFrame({
          case: "failure",
          value: { code: WORN, message: "no", hint: "", queryId: message.value.id },
        })
      : undefined;

  it("a query that a thread has made is asked again under another key as the same bytes", async () => {
    const { adapter, threads } = await openReady(2);
    const seen = new Set<string>();
    up = (message) => {
      if (message.case !== "query") return undefined;
      const bytes = toHex(message.value.ciphertext);
      if (seen.has(bytes)) return undefined;
      seen.add(bytes);
      return refuse(message);
    };
    const made = threads.started[0].made.length;
    expect(await errorOf(adapter, 0, 128)).toBeLessThan(2 ** -6);
    // One of the thread, one of this one: each refused once, and asked once more.
    const theirs = threads.started[0].made.slice(made).map(({ query }) => toHex(query!.bytes));
    expect(theirs).toHaveLength(1);
    const all = queries().map(({ ciphertext, keyId }) => ({ bytes: toHex(ciphertext), key: toHex(keyId) }));
    expect(all).toHaveLength(4);
    for (const bytes of new Set(all.map((query) => query.bytes))) {
      const keys = all.filter((query) => query.bytes === bytes).map(({ key }) => key);
      expect(keys).toHaveLength(2);
      expect(keys[0]).not.toBe(keys[1]);
    }
    expect(all.map(({ bytes }) => bytes)).toContain(theirs[0]);
  });

  it("queries made by several threads ask under each of two refused keys at most once", async () => {
    const threads = memoryThreads(2);
    const { adapter, provider } = await open({}, threads);
    await vi.waitFor(async () => {
      await errorOf(adapter, 1, 40);
      expect(threads.started.some(({ made }) => made.length > 0)).toBe(true);
    });
    // Of group 0 the first key has 50 vectors left: one query of 48 goes under it, the other under the next key.
    await errorOf(adapter, 0, 190);
    await vi.waitFor(() => expect(provider.traffic.keys).toBeGreaterThan(1));
    sent = [];
    const refused = new Set<string>();
    let answered = 0;
    up = (message) => {
      if (message.case !== "query") return undefined;
      const key = toHex(message.value.keyId);
      if (answered === 0 && refused.size < 2) refused.add(key);
      if (refused.has(key)) return refuse(message);
      answered++;
      return undefined;
    };
    expect(await errorOf(adapter, 0, 96)).toBeLessThan(2 ** -6);
    expect(refused.size).toBe(2);
    const asked = queries().map(({ ciphertext, keyId }) => `${toHex(ciphertext)} ${toHex(keyId)}`);
    // How many refusals there are depends on when the thread is done: two to four.
    expect(new Set(asked).size).toBe(asked.length);
    expect(new Set(queries().map(({ ciphertext }) => toHex(ciphertext))).size).toBe(2);
    expect(answered).toBe(2);
  });

  it("a query that a thread has made fails where all keys are refused, and the next one does not", async () => {
    const { adapter } = await openReady(2);
    up = refuse;
    await expect(adapter.begin(0, vectorsOf(128, 24), 128).wait()).rejects.toMatchObject({
      code: "worn_key",
      message: expect.stringContaining("refuses the keys that it makes"),
    });
    up = () => undefined;
    expect(await errorOf(adapter, 0, 128)).toBeLessThan(2 ** -6);
    expect(new Set(sentVectors()).size).toBe(2 * 128);
  });

  it("what is secret of a query that comes when its prompt is over is wiped, and its memory serves the next", async () => {
    let isLate = false;
    const { adapter, threads } = await openReady(2, () => (isLate ? "silence" : "answer"));
    isLate = true;
    let late: Done | undefined;
    threads.change = (done) => (late = done);
    const jobs = threads.started[0].jobs;
    const pending = adapter.begin(0, vectorsOf(128, 24), 128);
    pending.drop!();
    await vi.waitFor(() => expect(threads.started[0].jobs).toBe(jobs + 1));
    const { query } = late!;
    expect(query!.secrets.some((value) => value !== 0)).toBe(true);
    threads.started[0].deliver();
    await expect(pending.wait()).rejects.toMatchObject({ code: "aborted" });
    expect(query!.state).toBe("used");
    for (const secret of [query!.secrets, query!.activations, query!.scales])
      expect([...secret].every((value) => value === 0)).toBe(true);
    // Its memory moves to the thread with the next job.
    isLate = false;
    threads.change = (done) => done;
    expect(await errorOf(adapter, 0, 128)).toBeLessThan(2 ** -6);
    expect(query!.secrets.byteLength).toBe(0);
  });

  it("dispose ends them, and what they were at fails as the connection does", async () => {
    const { adapter, threads } = await openReady(2, (job) => (job < 2 ? "answer" : "silence"));
    const { inFeatures } = adapter.groups[0];
    const pending = [1, 2, 3].map(() => adapter.begin(0, vectorsOf(128, inFeatures), 128).wait());
    const ended = Promise.allSettled(pending);
    await vi.waitFor(() => expect(threads.started[0].jobs).toBeGreaterThan(2));
    adapter.dispose();
    expect(await ended).toContainEqual(
      expect.objectContaining({ reason: expect.objectContaining({ code: "connection_lost" }) }),
    );
    expect(threads.started[0].isEnded).toBe(true);
  });
});
