/**
 * The wire carries ciphertext and nothing else: every byte of a session is captured by a TCP proxy and searched for
 * activations, token ids and text; ciphertexts are tested for uniformity. Every search has a control: it must find
 * what is planted.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toFloat16 } from "../../src/base/float16.ts";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { HEADROOM } from "../../src/rlwe/parameters.ts";
import { decodeClientFrame, decodeProviderFrame } from "../../src/wire/frames.ts";
import { packTop, unpackTop } from "../oracle/packing.ts";
import { ByteSearch } from "../support/byte-search.ts";
import { greedyIds, lexicon, lexiconEntries, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import {
  type Recording,
  type RecordingProxy,
  readWebSocket,
  recordingProxy,
} from "../support/recording-proxy.ts";
import { byteCounts, chiSquareZ, correlationZ } from "../support/statistics.ts";

const MAX = 64 << 20;
const NEW_TOKENS = 6;
const folder = temporaryFolder();
const [entry] = lexiconEntries();

interface Asked {
  readonly group: number;
  readonly x: Float32Array;
  readonly tokens: number;
}

let proxy: RecordingProxy;
let model: PrivateModel;
let raw: Recording;
let answer: number[];
/** Every activation that was encrypted. */
const asked: Asked[] = [];

beforeAll(async () => {
  const test = await lexicon();
  const state = join(folder.path, "state");
  await test.writeState(state);
  proxy = await recordingProxy((await startProvider(state)).url);
  model = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: proxy.url });
  const begin = model.adapter.begin.bind(model.adapter);
  model.adapter.begin = (group, x, tokens) => {
    asked.push({ group, x: x.slice(), tokens });
    return begin(group, x, tokens);
  };
  const beginPair = model.adapter.beginPair.bind(model.adapter);
  model.adapter.beginPair = (first, second, tokens) => {
    for (const { group, x } of [first, second]) asked.push({ group, x: x.slice(), tokens });
    return beginPair(first, second, tokens);
  };
  answer = await greedyIds(model.model, entry.prompt_ids, { maxNewTokens: NEW_TOKENS });
  [raw] = proxy.recordings();
});
afterAll(async () => {
  await model?.close();
  await proxy?.close();
  await stopProviders();
  folder.remove();
});

/** The upgrade and the unmasked messages: what a reader of the connection knows. */
function everything(): Uint8Array[] {
  const streams = [readWebSocket(raw.up), readWebSocket(raw.down)];
  return streams.flatMap(({ upgrade, messages, control }) => [
    Buffer.from(upgrade, "latin1"),
    ...messages,
    ...control.map(({ payload }) => payload),
  ]);
}

/** v of each query vector as bytes, and the replies, in order. */
function queries() {
  const up = readWebSocket(raw.up).messages.map((message) => decodeClientFrame(message, MAX));
  return up.flatMap((frame) => (frame.case === "query" ? [frame.value] : []));
}

/** x in every form in which it might have been left on the wire. */
function formsOf({ group, x, tokens }: Asked): [string, ArrayBufferView, number][] {
  const { manifest } = model.bundle;
  const { inFeatures } = manifest.groups[group];
  const { rowNorm, uploadBits: bits } = manifest.parameters;
  const integers = new Int32Array(x.length);
  for (let t = 0; t < tokens; t++) {
    const row = x.subarray(t * inFeatures, (t + 1) * inFeatures);
    const scale = 2 ** 31 / (HEADROOM * rowNorm * Math.hypot(...row));
    for (const [j, value] of row.entries()) integers[t * inFeatures + j] = Math.round(scale * value);
  }
  return [
    ["f32", x, 4],
    ["f64", Float64Array.from(x), 8],
    ["f16", toFloat16(x), 2],
    ["S·x as i32", integers, 4],
    ["S·x packed", packTop(Uint32Array.from(integers.subarray(0, 256)), 256, bits), 1],
    ["S·x as f32", Float32Array.from(integers), 4],
  ];
}

describe("a captured session", () => {
  it("is captured whole: every byte is HTTP or a WebSocket frame, every message a frame of the protocol", () => {
    const [up, down] = [readWebSocket(raw.up), readWebSocket(raw.down)];
    expect(up.upgrade).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
    expect(down.upgrade).toMatch(/^HTTP\/1\.1 101 /);
    expect([up.rest, down.rest, up.control.length, down.control.length]).toEqual([0, 0, 0, 0]);
    const sent = up.messages.map((message) => decodeClientFrame(message, MAX).case);
    const received = down.messages.map((message) => decodeProviderFrame(message, MAX).case);
    expect(new Set(sent)).toEqual(new Set(["hello", "fetchBundle", "fetchKey", "query"]));
    expect(new Set(received)).toEqual(new Set(["welcome", "bundlePart", "keyMade", "keyPart", "answer"]));
    const groups = model.bundle.manifest.groups.length;
    // Once one for each pair of groups that is asked together (src/model/run/look-ahead.ts).
    const pairs = groups / 2 - 1;
    expect(asked).toHaveLength(groups * NEW_TOKENS + pairs);
    expect(queries()).toHaveLength(groups * NEW_TOKENS + pairs);
    // What the client counts is what the messages have.
    const bytes = (messages: readonly Buffer[]) => messages.reduce((sum, { length }) => sum + length, 0);
    const { bytesUp, bytesDown, keys, keyBytes } = model.provider.traffic;
    const ofKeys = bytes([
      ...up.messages.filter((_, i) => sent[i] === "fetchKey"),
      ...down.messages.filter((_, i) => received[i] === "keyMade" || received[i] === "keyPart"),
    ]);
    expect(keys).toBe(1);
    expect(keyBytes).toBe(ofKeys);
    expect(bytesUp + bytesDown).toBe(bytes(up.messages) + bytes(down.messages) - ofKeys);
    expect(bytesUp).toBe(bytes(up.messages.filter((_, i) => sent[i] !== "fetchKey")));
  });

  it("holds no activation, in any form: float, half, quantised, packed", () => {
    const search = new ByteSearch(everything());
    const found: string[] = [];
    for (const one of asked) {
      for (const [form, values, step] of formsOf(one)) {
        const count = search.count(values, step);
        if (count > 0) found.push(`${form} of group ${one.group}: ${count}`);
      }
    }
    expect(found).toEqual([]);
  });

  it("(control) the search finds each form when it is planted at an odd place", () => {
    const one = asked[5];
    for (const [form, values, step] of formsOf(one)) {
      const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
      const planted = Buffer.concat([raw.up.subarray(0, 1001), bytes, raw.up.subarray(1001, 5000)]);
      expect(new ByteSearch([planted]).count(values, step), form).toBeGreaterThan(50);
    }
  });

  it("holds no token ids and no text", async () => {
    const search = new ByteSearch([...everything(), raw.up, raw.down]);
    const prompt = [...entry.prompt_ids];
    for (const ids of [prompt, answer, [...prompt, ...answer]]) {
      for (const plain of idForms(ids)) expect(search.includes(plain)).toBe(false);
    }
    const { text } = entry.adapter;
    for (let at = 0; at + 10 <= text.length; at += 5)
      expect(search.includes(text.slice(at, at + 10))).toBe(false);
    for (const encoding of ["utf8", "utf16le", "base64"] as const) {
      const word = Buffer.from(entry.word, "utf8");
      const plain =
        encoding === "base64" ? word.toString("base64").slice(0, 12) : Buffer.from(entry.word, encoding);
      expect(search.includes(plain)).toBe(false);
    }
  });

  it("(control) the search finds ids and text when they are planted", () => {
    for (const plain of [...idForms([...entry.prompt_ids]), Buffer.from(entry.word)]) {
      const planted = Buffer.concat([raw.down.subarray(0, 777), plain, raw.down.subarray(777, 2000)]);
      expect(new ByteSearch([planted]).includes(plain)).toBe(true);
    }
  });
});

/** Ids as u16, u32, i64 little-endian, as varints and as JSON. */
function idForms(ids: readonly number[]): Uint8Array[] {
  const varints = ids.flatMap((id) => (id < 128 ? [id] : [(id & 127) | 128, id >> 7]));
  const wide = BigInt64Array.from(ids, BigInt);
  return [
    new Uint8Array(Uint16Array.from(ids).buffer),
    new Uint8Array(Uint32Array.from(ids).buffer),
    new Uint8Array(wide.buffer),
    Uint8Array.from(varints),
    Buffer.from(ids.join(",")),
    Buffer.from(ids.join(", ")),
  ];
}

/** The distance from uniform of bytes, of the high and the low bits of words, and of neighbours. */
function uniformityZ(ciphertexts: readonly Uint8Array[]): Record<string, number> {
  const bytes = Buffer.concat(ciphertexts);
  const words = ciphertexts.flatMap((v) => [...wordsOf(v)]);
  const high = Uint8Array.from(words, (word) => word >>> 24);
  const low = Uint8Array.from(words, (word) => (word >>> 7) & 255);
  return {
    bytes: chiSquareZ(byteCounts(bytes)),
    high: chiSquareZ(byteCounts(high)),
    low: chiSquareZ(byteCounts(low)),
    neighbours: correlationZ(words, words.slice(1)),
  };
}

/** A vector of 25-bit words, at the top of u32. */
function wordsOf(ciphertext: Uint8Array): Uint32Array {
  // Whole groups of 16 words take 50 bytes: unpacked apart, so that the BigInts stay small.
  const out = new Uint32Array(Math.floor((ciphertext.length * 8) / 25));
  for (let at = 0; at < out.length; at += 16) {
    const count = Math.min(16, out.length - at);
    const first = (at * 25) / 8;
    out.set(unpackTop(ciphertext.subarray(first, first + 50), count, 25), at);
  }
  return out;
}

const worst = (z: Record<string, number>) => Math.max(...Object.values(z).map(Math.abs));

describe("ciphertexts", () => {
  it("are uniform: bytes, high bits, low bits, neighbours", () => {
    expect(model.bundle.manifest.parameters.uploadBits).toBe(25);
    const single = queries().filter(({ vectors }) => vectors === 1);
    const z = uniformityZ(single.slice(0, 60).map(({ ciphertext }) => ciphertext));
    console.log("ciphertexts, standard deviations from uniform:", z);
    expect(worst(z)).toBeLessThan(5);
  });

  it("(control) the test sees plaintext: with the mask left out, and one byte in a hundred", () => {
    const { x, group } = asked.at(-1)!;
    const [, packed] = formsOf({ group, x, tokens: 1 })[4] as [string, Uint8Array, number];
    expect(worst(uniformityZ(Array(20).fill(packed.subarray(0, 900))))).toBeGreaterThan(20);
    const bytes = Buffer.concat(
      queries()
        .slice(-60)
        .map(({ ciphertext }) => ciphertext),
    );
    for (let i = 0; i < bytes.length; i += 100) bytes[i] = 0;
    expect(Math.abs(chiSquareZ(byteCounts(bytes)))).toBeGreaterThan(5);
  });

  it("of one activation, asked many times, are unrelated: no correlation, uniform differences", async () => {
    const { group, x } = asked.find(({ tokens }) => tokens === 1)!;
    const before = readWebSocket(proxy.recordings()[0].up).messages.length;
    const rounds = 24;
    for (let i = 0; i < rounds; i++) await model.adapter.begin(group, x, 1).wait();
    const messages = readWebSocket(proxy.recordings()[0].up).messages.slice(before);
    const vectors = messages.map((message) => {
      const frame = decodeClientFrame(message, MAX);
      if (frame.case !== "query") throw new Error("not a query");
      return wordsOf(frame.value.ciphertext);
    });
    expect(vectors).toHaveLength(rounds);
    const differences: number[] = [];
    for (let i = 1; i < rounds; i++) {
      expect(Math.abs(correlationZ(vectors[i], vectors[i - 1]))).toBeLessThan(5);
      for (let j = 0; j < vectors[i].length; j++)
        differences.push((vectors[i][j] - vectors[i - 1][j]) >>> 24);
    }
    expect(Math.abs(chiSquareZ(byteCounts(Uint8Array.from(differences))))).toBeLessThan(5);
    // The control: under one mask the differences are those of the activations, here 0 and its neighbours.
    const reused = vectors[0].map((word, j) => word + ((j % 3) << 8));
    const control = vectors[0].map((word, j) => (reused[j] - word) >>> 24);
    expect(chiSquareZ(byteCounts(Uint8Array.from(control)))).toBeGreaterThan(50);
  });

  it("have a length that depends on the group and the number of tokens only", () => {
    const sizes = new Map<string, Set<number>>();
    for (const { group, vectors, ciphertext } of queries()) {
      const key = `${group}/${vectors}`;
      sizes.set(key, (sizes.get(key) ?? new Set()).add(ciphertext.length));
    }
    for (const seen of sizes.values()) expect(seen.size).toBe(1);
  });

  it("replies are uniform too: without the key they say nothing", () => {
    const frames = readWebSocket(raw.down).messages.map((message) => decodeProviderFrame(message, MAX));
    const words = frames.flatMap((frame) => (frame.case === "answer" ? [frame.value.words] : []));
    const bytes = Buffer.concat(words);
    expect(bytes.length).toBeGreaterThan(5000);
    expect(Math.abs(chiSquareZ(byteCounts(bytes)))).toBeLessThan(5);
  });
});
