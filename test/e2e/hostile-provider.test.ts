/**
 * A provider that lies: whatever it answers, the client ends with a TacetError of the right code or goes on with
 * finite numbers; it never hangs, never crashes, and what it sends does not depend on what it was told.
 */
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ErrorCode, TacetError } from "../../src/base/errors.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { encodeProviderFrame, type ProviderMessage } from "../../src/wire/frames.ts";
import {
  type HostileProvider,
  replaced,
  startHostileProvider,
  type Tamper,
} from "../support/hostile-provider.ts";
import { goldenModel, goldenOf, type TestModel, temporaryFolder } from "../support/models.ts";

const NAME = "llama-f32";
const want = goldenOf(NAME);
const folder = temporaryFolder();
const platform = nodePlatform();
const TIMES = { handshakeMs: 250, silenceMs: 250, reconnectMs: 0 };
let test: TestModel;
let provider: HostileProvider;

beforeAll(async () => {
  test = await goldenModel(NAME);
  await test.writeState(join(folder.path, "state"));
  provider = await startHostileProvider(join(folder.path, "state"));
});
beforeEach(() => {
  provider.tamper = (_, bytes) => [bytes];
  provider.takeReceived();
});
afterAll(async () => {
  await provider?.close();
  folder.remove();
});

/** Two passes of a session: the logits of the second, or what it failed with. */
async function session(url = provider.url): Promise<Float32Array | TacetError> {
  let model: Awaited<ReturnType<typeof openPrivateModel>> | undefined;
  try {
    model = await openPrivateModel(platform, { base: test.checkpoint, provider: url, ...TIMES });
    const cache = model.model.newCache();
    await model.model.forward(want.input_ids, cache);
    return await model.model.forward([7], cache);
  } catch (error) {
    if (!(error instanceof TacetError)) throw error;
    return error;
  } finally {
    await model?.close();
  }
}

async function expectFailure(code: ErrorCode, tamper: Tamper): Promise<TacetError> {
  provider.tamper = tamper;
  const outcome = await session();
  expect(outcome).toBeInstanceOf(TacetError);
  const error = outcome as TacetError;
  expect(error.code).toBe(code);
  expect(`${error.message}${error.hint}`).toMatch(/^\P{C}*$/u);
  return error;
}

type Case = ProviderMessage["case"];

/** Changes the messages of one kind; `nth` (from 0) picks one of them. */
function only(kind: Case, change: Tamper, nth?: number): Tamper {
  let seen = 0;
  return (message, bytes) =>
    message.case === kind && (nth === undefined || seen++ === nth) ? change(message, bytes) : [bytes];
}

const frame = encodeProviderFrame;
/** A Failure of the query that this message answers. */
const failureOf = (message: ProviderMessage, code: number) =>
  frame({ case: "failure", value: { code, queryId: message.case === "answer" ? message.value.id : 0 } });
const garbage = Uint8Array.from({ length: 40 }, (_, i) => (i * 89 + 200) & 255);

it("(control) untouched, the session works", async () => {
  expect(await session()).toBeInstanceOf(Float32Array);
});

describe("in place of the Welcome", () => {
  it.each<[string, ErrorCode, Tamper]>([
    ["nothing", "timed_out", () => []],
    ["a close", "connection_lost", () => "close"],
    ["garbage", "bad_frame", () => [garbage]],
    ["an empty message", "bad_frame", () => [new Uint8Array(0)]],
    ["an Answer", "bad_frame", () => [frame({ case: "answer", value: { id: 1 } })]],
    ["a Goodbye", "connection_lost", () => [frame({ case: "goodbye", value: {} })]],
    ["a Welcome cut by a byte", "bad_frame", (_, bytes) => [bytes.subarray(0, bytes.length - 1)]],
    ["two Welcomes", "bad_frame", (_, bytes) => [bytes, bytes]],
    ["a Welcome of version 1", "unsupported_version", (m) => [replaced(m, { version: 1 })]],
    ["a Welcome of no vectors a key", "bad_frame", (m) => [replaced(m, { vectorsPerKey: 0 })]],
    [
      "a key id of 15 bytes",
      "bad_frame",
      (m) => [replaced(m, { keys: [{ keyId: new Uint8Array(15), vectorsLeft: 1 }] })],
    ],
    ["a Welcome without limits", "bad_frame", (m) => [replaced(m, { limits: undefined })]],
    [
      "limits of zero",
      "bad_frame",
      (m) => [replaced(m, { limits: { maxMessageBytes: 0, maxVectors: 1, maxInFlight: 1 } })],
    ],
    ["a digest of 31 bytes", "bad_frame", (m) => [replaced(m, { bundleDigest: new Uint8Array(31) })]],
    ["a bundle of 2^63 bytes", "too_large", (m) => [replaced(m, { bundleBytes: 2n ** 63n })]],
    ["a bundle of no bytes", "bad_frame", (m) => [replaced(m, { bundleBytes: 0n })]],
    ["a bundle of another length", "bad_frame", (m) => [replaced(m, { bundleBytes: 10n ** 9n })]],
    [
      "the digest of another bundle",
      "bad_bundle",
      (m) => [replaced(m, { bundleDigest: new Uint8Array(32) })],
    ],
    ["a Failure", "unauthorized", () => [frame({ case: "failure", value: { code: 10, message: "no" } })]],
    ["a Failure of no known code", "internal", () => [frame({ case: "failure", value: { code: 999 } })]],
    [
      "a Failure that moves the cursor",
      "internal",
      () => [frame({ case: "failure", value: { code: 12, message: "\u001b[2J\u0007x", hint: "\r\ny" } })],
    ],
  ])("%s: %s", async (_, code, change) => {
    await expectFailure(code, only("welcome", change));
  });
});

describe("in place of the bundle", () => {
  const half = (bytes: Uint8Array) => bytes.subarray(0, bytes.length >> 1);
  const data = (message: ProviderMessage) => (message.case === "bundlePart" ? message.value.data : garbage);
  const offsetOf = (message: ProviderMessage) => message.case === "bundlePart" && message.value.offset;
  it.each<[string, ErrorCode, Tamper]>([
    ["nothing", "timed_out", () => []],
    ["a close", "connection_lost", () => "close"],
    ["a part at another offset", "bad_frame", (m) => [replaced(m, { offset: 1n })]],
    ["a part at 2^64 − 1", "bad_frame", (m) => [replaced(m, { offset: 2n ** 64n - 1n })]],
    ["an empty part", "bad_frame", (m) => [replaced(m, { data: new Uint8Array(0), last: false })]],
    ["half of it, as the last", "bad_frame", (m) => [replaced(m, { data: half(data(m)), last: true })]],
    [
      "half of a part, and then silence",
      "timed_out",
      (m) => (offsetOf(m) === 0n ? [replaced(m, { data: half(data(m)), last: false })] : []),
    ],
    ["all of it, not as the last", "bad_frame", (m) => [replaced(m, { last: false })]],
    ["more than it said", "bad_frame", (m) => [replaced(m, { data: Uint8Array.from([...data(m), 0]) })]],
    [
      "another bundle of the same length",
      "bad_bundle",
      (m) => [replaced(m, { data: data(m).map((byte, i) => (i === 500 ? byte ^ 1 : byte)) })],
    ],
    ["a Welcome", "bad_frame", () => [frame({ case: "welcome", value: { version: 1 } })]],
    ["an Answer to nothing", "bad_frame", (_, bytes) => [frame({ case: "answer", value: { id: 5 } }), bytes]],
  ])("%s: %s", async (_, code, change) => {
    await expectFailure(code, only("bundlePart", change));
  });
});

describe("in place of a key", () => {
  type Part = Extract<ProviderMessage, { case: "keyPart" }>["value"];
  const value = (m: ProviderMessage) => m.value as Part;
  const flipped = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 7 ? byte ^ 4 : byte));
  /** Queries that the client has sent. */
  const asked = () => provider.takeReceived().filter((message) => message.case === "query");
  const isLast = (m: ProviderMessage) => value(m).signature.length > 0;
  const fail = (m: ProviderMessage, code: number) =>
    frame({ case: "failure", value: { code, message: "no", keyRequestId: value(m).id } });

  it.each<[string, ErrorCode, Tamper]>([
    ["nothing before its parts", "bad_frame", () => []],
    ["a close", "connection_lost", () => "close"],
    ["an id of another length", "bad_key", (m) => [replaced(m, { keyId: new Uint8Array(15) })]],
    ["no vectors", "bad_key", (m) => [replaced(m, { vectorsLeft: 0 })]],
    ["a request that was not made", "bad_frame", (m) => [replaced(m, { id: 4e6 })]],
    ["the same twice", "bad_frame", (_, bytes) => [bytes, bytes]],
    ["a Failure of the request", "unauthorized", (m) => [fail(m, 10)]],
    [
      "a Failure of another",
      "bad_frame",
      () => [frame({ case: "failure", value: { code: 7, keyRequestId: 4e6 } })],
    ],
  ])("announced as %s: %s", async (_, code, change) => {
    await expectFailure(code, only("keyMade", change));
  });

  it.each<[string, ErrorCode, Tamper]>([
    ["nothing", "timed_out", () => []],
    ["a close", "connection_lost", () => "close"],
    ["a byte less", "bad_key", (m) => [replaced(m, { weights: value(m).weights.subarray(1) })]],
    ["a byte more", "bad_key", (m) => [replaced(m, { hint: Uint8Array.from([...value(m).hint, 0]) })]],
    ["no hint", "bad_key", (m) => [replaced(m, { hint: new Uint8Array(0) })]],
    ["weights with a bit changed", "bad_key", (m) => [replaced(m, { weights: flipped(value(m).weights) })]],
    ["a hint with a bit changed", "bad_key", (m) => [replaced(m, { hint: flipped(value(m).hint) })]],
    ["a signature of its own", "bad_frame", (m) => [replaced(m, { signature: new Uint8Array(64) })]],
    ["another group", "bad_frame", (m) => [replaced(m, { group: value(m).group + 1 })]],
    ["the same part twice", "bad_frame", (_, bytes) => [bytes, bytes]],
    ["a part of no request", "bad_frame", (m) => [replaced(m, { id: 4e6 })]],
    ["a Failure of the request", "unauthorized", (m) => [fail(m, 10)]],
  ])("with %s: %s", async (_, code, change) => {
    await expectFailure(code, only("keyPart", change));
    expect(asked()).toEqual([]);
  });

  it.each<[string, ErrorCode, Tamper]>([
    ["nothing", "timed_out", () => []],
    ["another signature", "bad_key", (m) => [replaced(m, { signature: flipped(value(m).signature) })]],
    ["half a signature", "bad_key", (m) => [replaced(m, { signature: value(m).signature.subarray(32) })]],
    ["no signature", "bad_key", (m) => [replaced(m, { signature: new Uint8Array(0) })]],
    ["weights with a bit changed", "bad_key", (m) => [replaced(m, { weights: flipped(value(m).weights) })]],
    [
      "a part more",
      "bad_frame",
      (m) => [replaced(m, { signature: new Uint8Array(0), group: value(m).group + 1 })],
    ],
  ])("that ends with %s: %s", async (_, code, change) => {
    await expectFailure(
      code,
      only("keyPart", (m, bytes) => (isLast(m) ? change(m, bytes) : [bytes])),
    );
    if (code !== "bad_frame") expect(asked()).toEqual([]);
  });

  it("two parts of the same lengths in each other's places: bad_key", async () => {
    const seen: Part[] = [];
    let swapped = 0;
    provider.tamper = (m, bytes) => {
      if (m.case !== "keyPart") return [bytes];
      const { weights, hint } = value(m);
      const alike = seen.find(
        (part) => part.weights.length === weights.length && part.hint.length === hint.length,
      );
      if (alike === undefined) {
        seen.push({ ...value(m), weights: weights.slice(), hint: hint.slice() });
        return [bytes];
      }
      swapped++;
      return [replaced(m, { weights: alike.weights, hint: alike.hint })];
    };
    expect(await session()).toMatchObject({ code: "bad_key" });
    expect(swapped).toBeGreaterThan(0);
    expect(asked()).toEqual([]);
  });

  it("the parts of another key of the same session: bad_key", async () => {
    const first = new Map<number, Part>();
    let refusals = 1;
    provider.tamper = (m, bytes) => {
      if (m.case === "answer" && refusals-- > 0) return [failureOf(m, 17)];
      if (m.case !== "keyPart") return [bytes];
      const { group, weights, hint, signature } = m.value;
      const other = first.get(group);
      if (other !== undefined) {
        return [replaced(m, { weights: other.weights, hint: other.hint, signature: other.signature })];
      }
      // The provider's memory serves its next message.
      const copy = { weights: weights.slice(), hint: hint.slice(), signature: signature.slice() };
      first.set(group, { ...m.value, ...copy });
      return [bytes];
    };
    expect(await session()).toMatchObject({ code: "bad_key" });
  });

  it.each([
    ["unknown", "unknown_key", 16],
    ["worn out", "worn_key", 17],
  ] as const)("refused as %s for ever: %s, after five keys and no other bytes", async (_, code, wire) => {
    await expectFailure(
      code,
      only("answer", (m) => [failureOf(m, wire)]),
    );
    const queries = provider.takeReceived().flatMap((sent) => (sent.case === "query" ? [sent.value] : []));
    const keys = queries.map(({ keyId }) => Buffer.from(keyId).toString("hex"));
    expect(new Set(keys).size).toBe(5);
    const bytes = queries.map(({ ciphertext }) => Buffer.from(ciphertext).toString("base64"));
    expect(new Set(bytes).size).toBe(1);
  });

  it("refused once: another key, the same bytes, and the session goes on", async () => {
    provider.tamper = only("answer", (m) => [failureOf(m, 17)], 0);
    expect(await session()).toBeInstanceOf(Float32Array);
  });
});

describe("in place of an Answer", () => {
  const words = (message: ProviderMessage) => (message.case === "answer" ? message.value.words : garbage);
  const ask: [string, ErrorCode, Tamper][] = [
    ["nothing", "timed_out", () => []],
    ["a close", "connection_lost", () => "close"],
    ["garbage", "bad_frame", () => [garbage]],
    ["an Answer cut by a byte", "bad_frame", (_, bytes) => [bytes.subarray(0, bytes.length - 1)]],
    ["an Answer of another id", "bad_frame", (m) => [replaced(m, { id: 4_000_000 })]],
    ["an Answer of id 0", "bad_frame", (m) => [replaced(m, { id: 0 })]],
    ["no words", "bad_frame", (m) => [replaced(m, { words: new Uint8Array(0) })]],
    ["a byte less", "bad_frame", (m) => [replaced(m, { words: words(m).subarray(1) })]],
    ["a byte more", "bad_frame", (m) => [replaced(m, { words: Uint8Array.from([...words(m), 0]) })]],
    ["a Goodbye", "connection_lost", () => [frame({ case: "goodbye", value: { reason: "\u0000bye" } })]],
    ["a part of a bundle", "bad_frame", () => [frame({ case: "bundlePart", value: { data: garbage } })]],
    ["a Failure of the query", "bad_query", (m) => [failureOf(m, 7)]],
    [
      "a Failure of another query",
      "bad_frame",
      () => [frame({ case: "failure", value: { code: 7, queryId: 4e6 } })],
    ],
    ["a Failure of the connection", "unauthorized", () => [frame({ case: "failure", value: { code: 10 } })]],
  ];
  it.each(ask)("%s: %s", async (_, code, change) => {
    await expectFailure(code, only("answer", change));
  });

  it.each(ask)("%s, once, in the second pass: %s, or the client recovers", async (_, code, change) => {
    const groups = test.adapter.modules.size; // at least as many answers as groups
    provider.tamper = only("answer", change, Math.ceil(groups / 2));
    const outcome = await session();
    // What looks like a lost connection is made good over a new one; what looks like a lie is not.
    const recovers = code === "timed_out" || code === "connection_lost";
    if (recovers) expect(outcome).toBeInstanceOf(Float32Array);
    else expect(outcome).toMatchObject({ code });
  });

  it("each message twice: that connection is given up, the next one is used", async () => {
    for (const kind of ["answer", "bundlePart"] as const) {
      provider.takeReceived();
      let done = false;
      provider.tamper = only(kind, (message, bytes) => {
        // Of a bundle the last part: it is whole before the message that is too many comes.
        if (done || (message.case === "bundlePart" && !message.value.last)) return [bytes];
        done = true;
        return [bytes, bytes];
      });
      const outcome = await session();
      expect(outcome).toBeInstanceOf(Float32Array);
      expect(provider.takeReceived().filter(({ case: name }) => name === "hello")).toHaveLength(2);
    }
  });

  it("other words: finite logits, and the client sends what it sends anyway", async () => {
    const shapes = () =>
      provider.takeReceived().flatMap((sent) => {
        if (sent.case !== "query") return [];
        const { id, group, vectors, ciphertext } = sent.value;
        return [`${id} ${group} ${vectors} ${ciphertext.length}`];
      });
    await session();
    const honest = shapes();
    expect(honest.length).toBeGreaterThan(3);
    const changes: ((word: number, i: number) => number)[] = [
      () => 0,
      () => 255,
      (word) => word ^ 0x80,
      (_, i) => (i * 151) & 255,
    ];
    for (const change of changes) {
      provider.tamper = only("answer", (m) => [replaced(m, { words: words(m).map(change) })]);
      const logits = await session();
      expect(logits).toBeInstanceOf(Float32Array);
      expect((logits as Float32Array).every(Number.isFinite)).toBe(true);
      expect(shapes()).toEqual(honest);
    }
  });

  it("any bit flipped, in any message: a TacetError or finite logits", async () => {
    const runs = process.env.SLOW === "1" ? 400 : 24;
    let failed = 0;
    for (let run = 0; run < runs; run++) {
      let seen = 0;
      const nth = run % 8;
      provider.tamper = (_, bytes) => {
        if (seen++ !== nth) return [bytes];
        const copy = bytes.slice();
        // Where the fields are: near the front, where a flip means the most.
        const bit = (run * 7919) % Math.min(8 * copy.length, 400);
        copy[bit >> 3] ^= 1 << (bit & 7);
        return [copy];
      };
      const outcome = await session();
      if (outcome instanceof TacetError) failed++;
      else expect(outcome.every(Number.isFinite)).toBe(true);
    }
    expect(failed).toBeGreaterThan(0);
  });
});

it("(control) the provider behind it has made no fault of its own", () => {
  expect(provider.faults).toEqual([]);
});

describe("a server that is no provider", () => {
  async function withServer(
    answer: string | undefined,
    check: (url: string) => Promise<void>,
  ): Promise<void> {
    const server: Server = createServer((socket) => {
      socket.on("error", () => {});
      if (answer !== undefined) socket.write(answer);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await check(`ws://127.0.0.1:${port}`);
    server.close();
  }

  it.each([
    ["says nothing", undefined],
    ["speaks HTTP", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"],
    ["speaks something else", "SSH-2.0-OpenSSH_9.0\r\n"],
  ])("%s: connection_failed", async (_, answer) => {
    await withServer(answer, async (url) => {
      expect(await session(url)).toMatchObject({ code: "connection_failed" });
    });
  });
});
