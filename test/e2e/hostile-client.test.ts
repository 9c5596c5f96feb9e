/**
 * Clients that send anything at all to a live provider process: each gets a typed Failure without data or a close,
 * the provider goes on serving others, reports no fault of its own and does not grow.
 */
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { ERROR_KINDS } from "../../src/base/errors.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { fingerprintCheckpoint } from "../../src/weights/fingerprint.ts";
import {
  decodeClientFrame,
  decodeProviderFrame,
  encodeClientFrame,
  type ProviderMessage,
} from "../../src/wire/frames.ts";
import { goldenModel, goldenOf, temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";
import { readWebSocket, recordingProxy } from "../support/recording-proxy.ts";

const NAME = "llama-f32";
const MAX_MESSAGE = 1 << 20;
const PROBE_ID = 424242;
const SLOW = process.env.SLOW === "1";
const folder = temporaryFolder();
let provider: ProviderProcess;
let honest: RemoteProvider;
let hello: Uint8Array;
let query: Uint8Array;
/** An encrypted vector of group 0, and the answer to it. */
let vector: Uint8Array;
let words: Uint8Array;
let key: { readonly id: Uint8Array; left: number };
/** Of the first key of every connection: without a store it is the same on all of them. */
let firstKeyId: Uint8Array;
/** A Hello, and a request for the key that the recorded query names. */
let enter: Uint8Array[];
let request: Uint8Array;
const fetchKey = (id: number) => encodeClientFrame({ case: "fetchKey", value: { id } });

beforeAll(async () => {
  const test = await goldenModel(NAME);
  const state = join(folder.path, "state");
  await test.writeState(state);
  provider = await startProvider(state, { args: ["--max-message-bytes", String(MAX_MESSAGE)] });
  // Recorded from an honest session.
  const proxy = await recordingProxy(provider.url);
  const model = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: proxy.url });
  await model.model.forward(goldenOf(NAME).input_ids.slice(0, 1), model.model.newCache());
  const { messages } = readWebSocket(proxy.recordings()[0].up);
  const asked = messages.map((message) => decodeClientFrame(message, MAX_MESSAGE));
  const first = asked.findIndex((frame) => frame.case === "query");
  [hello, query] = [messages[0], messages[first]];
  const recorded = asked[first].value as { ciphertext: Uint8Array; keyId: Uint8Array };
  [vector, firstKeyId] = [recorded.ciphertext.slice(), recorded.keyId.slice()];
  request = fetchKey(1);
  enter = [hello, request];
  await model.close();
  await proxy.close();
  const baseFingerprint = await fingerprintCheckpoint(test.checkpoint);
  honest = (await RemoteProvider.connect(nodePlatform(), { url: provider.url, baseFingerprint })).provider;
  await takeKey();
});
afterAll(async () => {
  honest?.close();
  await stopProviders();
  folder.remove();
});

interface Outcome {
  /** But those of keys that came. */
  readonly frames: ProviderMessage[];
  /** Ids of keys that came. */
  readonly keyIds: Uint8Array[];
  /** Of the close, if the provider closed. */
  readonly closed: number | undefined;
}

/** Whether a frame is the reply to `hello`, or to the request for a key of this id. */
function isReply({ case: name, value }: ProviderMessage, id: number | "hello"): boolean {
  if (name === "keyMade") return value.id === id;
  return id === "hello" ? name === "welcome" : name === "failure" && value.keyRequestId === id;
}

/**
 * Sends messages (the next one after `hello` or `request` when that has its reply), then a request for a key and a query that a provider in order answers; ends with that answer or with
 * a close.
 */
async function send(messages: readonly (Uint8Array | string)[]): Promise<Outcome> {
  const socket = new WebSocket(provider.url, { perMessageDeflate: false });
  const frames: ProviderMessage[] = [];
  const keyIds: Uint8Array[] = [];
  return await new Promise<Outcome>((resolve, reject) => {
    const replies = new Map<number | "hello", () => void>();
    const replied = (id: number | "hello") =>
      new Promise<void>((heard) => {
        if (id === "hello" && frames.some((frame) => isReply(frame, id))) heard();
        else replies.set(id, heard);
      });
    const finish = (closed: number | undefined) => {
      socket.removeAllListeners("close");
      socket.on("error", () => {});
      socket.terminate();
      resolve({ frames, keyIds, closed });
    };
    socket.on("error", reject);
    socket.on("close", finish);
    socket.on("message", (data: Buffer) => {
      const frame = decodeProviderFrame(data, 64 << 20);
      if (frame.case === "keyMade") keyIds.push(frame.value.keyId.slice());
      else if (frame.case !== "keyPart") frames.push(frame);
      for (const [id, heard] of replies) if (isReply(frame, id)) heard();
      if (frame.case === "answer" && frame.value.id === PROBE_ID) finish(undefined);
      // A provider that awaits a Hello closes on the probe: the outcome comes with the close.
    });
    // If there is no reply there is a close, which ends all.
    socket.on("open", async () => {
      for (const message of messages) {
        socket.send(message, { binary: typeof message !== "string" });
        if (message === hello) await replied("hello");
        else if (message === request) await replied(1);
      }
      socket.send(fetchKey(PROBE_ID));
      await replied(PROBE_ID);
      socket.send(queryFrame({ id: PROBE_ID }));
    });
  });
}

interface QueryChange {
  readonly id?: number;
  readonly group?: number;
  readonly vectors?: number;
  readonly keyId?: Uint8Array;
  readonly ciphertext?: Uint8Array;
}
function queryFrame(change: QueryChange = {}) {
  const value = { id: 1, group: 0, vectors: 1, keyId: firstKeyId, ciphertext: vector, ...change };
  return encodeClientFrame({ case: "query", value });
}

const KNOWN = new Map(Object.values(ERROR_KINDS).map((kind) => [kind.wire as number, kind]));
const CLOSES = [1000, 1002, 1003, 1007, 1008, 1009];

/** What every outcome must be, whatever was sent. */
function expectDecent({ frames, closed }: Outcome): void {
  for (const frame of frames) {
    if (frame.case !== "failure") continue;
    const { code, message, hint } = frame.value;
    expect(KNOWN.has(code) && code !== ERROR_KINDS.internal.wire).toBe(true);
    expect(message.length + hint.length).toBeLessThan(400);
    expect(message + hint).toMatch(/^\P{C}+$/u);
  }
  if (closed !== undefined) expect(CLOSES).toContain(closed);
}

/** The honest client's next key, and what it answers. */
async function takeKey(): Promise<void> {
  const { id, vectorsLeft } = await honest.fetchKey();
  key = { id, left: vectorsLeft - 1 };
  ({ words } = await honest.query(0, 1, vector, id));
}

async function expectServing(): Promise<void> {
  if (key.left-- === 0) await takeKey();
  expect((await honest.query(0, 1, vector, key.id)).words).toEqual(words);
}

const failures = ({ frames }: Outcome) =>
  frames.flatMap((frame) => (frame.case === "failure" ? [frame.value.code] : []));

/** Checks decency and that others are served, several attacks at a time. */
async function attack(attacks: readonly (readonly (Uint8Array | string)[])[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let i = 0; i < attacks.length; i += 8) {
    outcomes.push(...(await Promise.all(attacks.slice(i, i + 8).map(send))));
    await expectServing();
  }
  for (const outcome of outcomes) expectDecent(outcome);
  return outcomes;
}

const wire = (code: keyof typeof ERROR_KINDS) => ERROR_KINDS[code].wire;

it("(control) an honest session ends with an answer", async () => {
  const { frames, keyIds, closed } = await send([...enter, query]);
  expect(frames.map(({ case: name }) => name)).toEqual(["welcome", "answer", "answer"]);
  expect(keyIds[0]).toEqual(firstKeyId);
  expect(keyIds).toHaveLength(2);
  expect(closed).toBeUndefined();
  await expectServing();
});

describe("a recorded message", () => {
  const recorded = [
    ["hello", () => hello, () => []],
    ["fetchBundle", () => encodeClientFrame({ case: "fetchBundle", value: {} }), () => [hello]],
    ["fetchKey", () => request, () => [hello]],
    ["query", () => query, () => enter],
    ["goodbye", () => encodeClientFrame({ case: "goodbye", value: { reason: "bye" } }), () => [hello]],
  ] as const;

  it.each(recorded)("%s, cut at many places", async (name, message, prior) => {
    const bytes = message();
    const lengths = new Set([
      0,
      1,
      2,
      3,
      4,
      5,
      8,
      12,
      40,
      bytes.length >> 1,
      bytes.length - 2,
      bytes.length - 1,
    ]);
    const cuts = [...lengths].filter((length) => length < bytes.length);
    const outcomes = await attack(cuts.map((length) => [...prior(), bytes.subarray(0, length)]));
    // A cut Goodbye may be one without a reason; a cut Query or Hello is none.
    if (name === "hello" || name === "query") {
      for (const outcome of outcomes) expect(failures(outcome)).toContain(wire("bad_frame"));
    }
  });

  it.each(recorded)("%s, with bytes behind it", async (_, message, prior) => {
    const tails = [[0], [255], [8], [0x1a, 0x00], [0x1a, 0x7f], [0x0a, 0x00], Array(500).fill(0x80)];
    await attack(tails.map((tail) => [...prior(), Uint8Array.from([...message(), ...tail])]));
  });

  it.each(recorded)("%s, with bits flipped", async (_, message, prior) => {
    const bytes = message();
    const flips = SLOW ? 8 * Math.min(bytes.length, 64) : 40;
    const attacks = Array.from({ length: flips }, (_flip, i) => {
      const bit = (i * (SLOW ? 1 : 13)) % (8 * Math.min(bytes.length, 64));
      const copy = Uint8Array.from(bytes);
      copy[bit >> 3] ^= 1 << (bit & 7);
      return [...prior(), copy];
    });
    await attack(attacks);
  });

  it("query, with a flipped ciphertext: an answer, as to any bytes", async () => {
    const ciphertext = Uint8Array.from(vector);
    ciphertext[ciphertext.length - 5] ^= 16;
    const [{ frames }] = await attack([[...enter, queryFrame({ ciphertext })]]);
    expect(frames.map(({ case: name }) => name)).toEqual(["welcome", "answer", "answer"]);
  });
});

describe("the wrong order", () => {
  it("a query, a request for a bundle or a key, or a Goodbye before Hello, and a second Hello", async () => {
    const fetch = encodeClientFrame({ case: "fetchBundle", value: {} });
    const [first, second, third, fourth, fifth] = await attack([
      [query],
      [fetch],
      [encodeClientFrame({ case: "goodbye", value: {} })],
      [hello, hello],
      [request],
    ]);
    expect(failures(first)).toEqual([wire("not_ready")]);
    expect(failures(second)).toEqual([wire("not_ready")]);
    expect(third).toMatchObject({ closed: 1000 });
    expect(failures(fourth)).toEqual([wire("not_ready")]);
    expect(failures(fifth)).toEqual([wire("not_ready")]);
  });

  it("nothing is answered after a fault: a hundred messages behind it get one Failure", async () => {
    const [outcome] = await attack([[...enter, Uint8Array.of(255), ...Array(100).fill(query)]]);
    expect(outcome.frames.map(({ case: name }) => name)).toEqual(["welcome", "failure"]);
    expect(outcome.closed).toBe(1002);
  });
});

describe("a query", () => {
  it.each<[string, Parameters<typeof queryFrame>[0], number]>([
    ["for a group that is not there", { group: 99 }, wire("unknown_group")],
    ["for group 2^32 − 1", { group: 2 ** 32 - 1 }, wire("unknown_group")],
    ["of no vectors", { vectors: 0 }, wire("bad_query")],
    ["of no vectors and no bytes", { vectors: 0, ciphertext: new Uint8Array(0) }, wire("bad_query")],
    ["of 2^32 − 1 vectors", { vectors: 2 ** 32 - 1 }, wire("too_large")],
    ["of two vectors with the bytes of one", { vectors: 2 }, wire("bad_query")],
    ["without ciphertext", { ciphertext: new Uint8Array(0) }, wire("bad_query")],
    ["under a key that was never made", { keyId: new Uint8Array(16) }, wire("unknown_key")],
    ["without a key", { keyId: new Uint8Array(0) }, wire("bad_query")],
  ])("%s is refused, and the connection goes on", async (_, change, code) => {
    const [outcome] = await attack([[...enter, queryFrame(change)]]);
    expect(outcome.frames.map(({ case: name }) => name)).toEqual(["welcome", "failure", "answer"]);
    expect(outcome.frames[1].value).toMatchObject({ code, queryId: 1 });
  });

  it("with a byte more or less is refused", async () => {
    const longer = Uint8Array.from([...vector, 0]);
    for (const ciphertext of [vector.subarray(1), longer]) {
      const [outcome] = await attack([[...enter, queryFrame({ ciphertext })]]);
      expect(failures(outcome)).toEqual([wire("bad_query")]);
    }
  });

  it("gets the same answer whatever its id, and on every connection, whose keys are its own, another", async () => {
    const ids = [7, 8, 2 ** 32 - 1, PROBE_ID];
    const outcomes = await attack(
      [1, 2, 3].map(() => [...enter, ...ids.slice(0, -1).map((id) => queryFrame({ id }))]),
    );
    const seen = new Set([Buffer.from(words).toString("hex")]);
    for (const { frames } of outcomes) {
      const answers = frames.flatMap((frame) => (frame.case === "answer" ? [frame.value] : []));
      expect(answers.map(({ id }) => id).sort()).toEqual([...ids].sort());
      const texts = new Set(answers.map((answer) => Buffer.from(answer.words).toString("hex")));
      expect(texts.size).toBe(1);
      for (const text of texts) seen.add(text);
    }
    expect(seen.size).toBe(1 + outcomes.length);
  });
});

describe("what is no message of the protocol", () => {
  it("text, random bytes, and more than the limit", async () => {
    const noise = Uint8Array.from({ length: 3000 }, (_, i) => (i * i * 31 + 7 * i) & 255);
    const outcomes = await attack([
      ["hello"],
      [hello, "text in the middle"],
      [noise],
      [hello, noise],
      [hello, new Uint8Array(MAX_MESSAGE + 1)],
      [hello, new Uint8Array(8 * MAX_MESSAGE)],
    ]);
    expect(outcomes.map(({ closed }) => closed)).toEqual([1003, 1003, 1002, 1002, 1009, 1009]);
  });

  it("connections that say nothing, or half a frame, cost nothing", async () => {
    const { hostname, port } = new URL(provider.url);
    const upgrade = [
      "GET / HTTP/1.1",
      `Host: ${hostname}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
      "\r\n",
    ].join("\r\n");
    const sockets = Array.from({ length: 60 }, (_, i) => {
      const socket = connectTcp(Number(port), hostname);
      socket.on("error", () => {});
      if (i % 3 === 1) socket.write(upgrade);
      // A masked binary frame that claims 2^40 bytes, and one that claims 1 MB and brings 10 bytes.
      if (i % 6 === 2) socket.write(`${upgrade}\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00abcd`, "latin1");
      if (i % 6 === 5)
        socket.write(`${upgrade}\x82\xff\x00\x00\x00\x00\x00\x0f\x00\x00abcd0123456789`, "latin1");
      return socket;
    });
    for (let i = 0; i < 5; i++) await expectServing();
    for (const socket of sockets) socket.destroy();
    await expectServing();
  });
});

describe("after all that", () => {
  it("the provider runs, has reported no fault, has logged no data, and has not grown", async () => {
    const attacks = Array.from({ length: SLOW ? 400 : 60 }, (_, i) => [
      ...enter,
      queryFrame({ group: i }),
      query,
    ]);
    const before = provider.memory();
    await attack(attacks);
    expect(provider.memory() - before).toBeLessThan(64 << 20);
    expect(provider.memory()).toBeLessThan(400 << 20);
    expect(provider.isRunning()).toBe(true);
    expect(provider.log()).not.toContain('"fault"');
    expect(provider.log()).not.toContain(Buffer.from(vector.subarray(0, 12)).toString("hex"));
    expect(provider.log()).not.toMatch(/[^\x20-\x7e\n]/);
  });
});
