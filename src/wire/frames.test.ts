/** Frames: every message survives a round trip; whatever else arrives is a frame or a typed error. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import {
  type ClientMessageInit,
  decodeClientFrame,
  decodeProviderFrame,
  encodeClientFrame,
  encodeProviderFrame,
  encodeQueryFrame,
  FrameMemory,
  type ProviderMessageInit,
} from "./frames.ts";
import { ClientFrameSchema, ProviderFrameSchema } from "./generated/tacet/v1/wire_pb.ts";

const MAX = 1 << 20;
const bytes = (count: number, first = 1) => Uint8Array.from({ length: count }, (_, i) => (first + i) & 255);

const CLIENT: NonNullable<ClientMessageInit>[] = [
  {
    case: "hello",
    value: {
      version: 1,
      adapter: "law",
      baseFingerprint: bytes(32),
      bundleDigest: bytes(32, 100),
      token: "t0ken",
    },
  },
  { case: "fetchBundle", value: {} },
  { case: "query", value: { id: 2 ** 32 - 1, group: 3, vectors: 2, ciphertext: bytes(60, 200) } },
  { case: "goodbye", value: { reason: "done" } },
];

const PROVIDER: NonNullable<ProviderMessageInit>[] = [
  {
    case: "welcome",
    value: {
      version: 1,
      adapter: "law",
      bundleDigest: bytes(32),
      bundleBytes: 2n ** 40n,
      limits: { maxMessageBytes: 1 << 26, maxVectors: 4096, maxInFlight: 64 },
    },
  },
  { case: "bundlePart", value: { offset: 2n ** 33n, data: bytes(50), last: true } },
  { case: "answer", value: { id: 7, words: bytes(30), computeMicros: 1234 } },
  { case: "failure", value: { code: 7, message: "a sentence", hint: "another", queryId: 9 } },
  { case: "goodbye", value: { reason: "shutting down" } },
];

const SIDES = [
  ...CLIENT.map((frame) => ({
    name: `client ${frame.case}`,
    frame,
    encoded: encodeClientFrame(frame),
    decode: decodeClientFrame,
  })),
  ...PROVIDER.map((frame) => ({
    name: `provider ${frame.case}`,
    frame,
    encoded: encodeProviderFrame(frame),
    decode: decodeProviderFrame,
  })),
];

/** "frame", or the code of the TacetError; anything else fails the test. */
function outcome(decode: (bytes: Uint8Array, max: number) => unknown, message: Uint8Array): string {
  try {
    decode(message, MAX);
    return "frame";
  } catch (error) {
    if (!(error instanceof TacetError)) throw error;
    expect(error.cause).toBeUndefined();
    expect(error.message.length).toBeLessThan(200);
    return error.code;
  }
}

describe("the answer's own decoder", () => {
  const general = (frame: Uint8Array) => fromBinary(ProviderFrameSchema, frame).frame;

  it.each([
    { id: 1, words: bytes(15), computeMicros: 12 },
    { id: 2 ** 28 - 1, words: bytes(300), computeMicros: 2 ** 28 - 1 },
    { id: 2 ** 28, words: bytes(300), computeMicros: 2 ** 32 - 1 },
    { id: 0, words: bytes(0), computeMicros: 0 },
    { id: 9, words: bytes(3), computeMicros: 0, vectorsLeft: 12n },
  ])("gives what the general one gives: %o", (value) => {
    const frame = encodeProviderFrame({ case: "answer", value });
    const { case: name, value: got } = decodeProviderFrame(frame, MAX);
    expect({ name, ...got }).toEqual({ name: "answer", $typeName: "tacet.v1.Answer", ...value });
  });

  it("and so for any change of a byte", () => {
    const frame = encodeProviderFrame({
      case: "answer",
      value: { id: 7, words: bytes(5), computeMicros: 300 },
    });
    for (let at = 0; at < frame.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const changed = frame.slice();
        changed[at] = byte;
        let expected: unknown;
        try {
          expected = general(changed);
        } catch {
          expected = undefined;
        }
        const isFrame = (expected as { case?: string } | undefined)?.case !== undefined;
        expect(outcome(decodeProviderFrame, changed)).toBe(isFrame ? "frame" : "bad_frame");
        if (isFrame)
          expect(JSON.stringify(decodeProviderFrame(changed, MAX), show)).toBe(
            JSON.stringify(expected, show),
          );
      }
    }
  });
});

describe("a query written into memory that is used again", () => {
  it("is the same bytes, shorter and longer in turns", () => {
    const memory = new FrameMemory();
    for (const length of [60, 5000, 0, 127, 128, 16_384]) {
      const query = { id: 300, group: 0, vectors: 1, ciphertext: bytes(length) };
      expect(encodeQueryFrame(query, memory)).toEqual(encodeClientFrame({ case: "query", value: query }));
    }
  });
});

/** For comparing messages: what JSON has no form for, and without the names of types. */
function show(key: string, value: unknown): unknown {
  if (key.startsWith("$")) return undefined;
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? [...value] : value;
}

describe.each(SIDES)("$name", ({ frame, encoded, decode }) => {
  it("survives a round trip", () => {
    const decoded = decode(encoded, MAX);
    expect(decoded.case).toBe(frame.case);
    expect(decoded.value).toMatchObject(frame.value as object);
  });

  it("cut anywhere is a frame or bad_frame, and empty never a frame", () => {
    for (let length = 1; length < encoded.length; length++) {
      expect(["frame", "bad_frame"]).toContain(outcome(decode, encoded.subarray(0, length)));
    }
    expect(outcome(decode, new Uint8Array(0))).toBe("bad_frame");
  });

  it("with any bit flipped is a frame or bad_frame", () => {
    let refused = 0;
    for (let bit = 0; bit < 8 * encoded.length; bit++) {
      const copy = encoded.slice();
      copy[bit >> 3] ^= 1 << (bit & 7);
      const result = outcome(decode, copy);
      expect(["frame", "bad_frame"]).toContain(result);
      if (result === "bad_frame") refused++;
    }
    expect(refused).toBeGreaterThan(0);
  });

  it("followed by any byte is a frame or bad_frame", () => {
    for (let byte = 0; byte < 256; byte++) {
      expect(["frame", "bad_frame"]).toContain(outcome(decode, Uint8Array.from([...encoded, byte])));
    }
  });

  it("is refused by its size before it is decoded", () => {
    expect(() => decode(encoded, encoded.length - 1)).toThrow(expect.objectContaining({ code: "too_large" }));
    expect(() => decode(encoded, encoded.length)).not.toThrow();
  });
});

describe("decoding", () => {
  it("takes random bytes for a frame or refuses them, never anything else", () => {
    let state = 1;
    const next = () => (state = Math.imul(state, 1664525) + 1013904223) >>> 24;
    for (let i = 0; i < 3000; i++) {
      const noise = Uint8Array.from({ length: i % 97 }, next);
      for (const decode of [decodeClientFrame, decodeProviderFrame]) {
        expect(["frame", "bad_frame"]).toContain(outcome(decode, noise));
      }
    }
  });

  it("refuses by size without reading: the bytes may be anything", () => {
    const large = new Uint8Array(MAX + 1).fill(0xff);
    expect(outcome(decodeClientFrame, large)).toBe("too_large");
    expect(outcome(decodeProviderFrame, large)).toBe("too_large");
  });

  it("does not allocate a length that is only claimed", () => {
    // Query (field 3) whose ciphertext (field 4) claims 2 GiB.
    const claim = Uint8Array.of(0x1a, 0x06, 0x22, 0xff, 0xff, 0xff, 0xff, 0x07);
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) expect(outcome(decodeClientFrame, claim)).toBe("bad_frame");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 << 20);
  });

  it("ignores unknown fields, inside and beside the payload", () => {
    const encoded = encodeClientFrame(CLIENT[2]);
    const unknown = Uint8Array.of(0x7a, 0x03, 1, 2, 3); // field 15, three bytes
    const decoded = decodeClientFrame(Uint8Array.from([...encoded, ...unknown]), MAX);
    expect(decoded.value).toMatchObject(CLIENT[2].value as object);
    expect(toBinary(ClientFrameSchema, fromBinary(ClientFrameSchema, encoded))).toEqual(encoded);
  });

  it("keeps the last of two payloads, as protobuf has it", () => {
    const both = Uint8Array.from([...encodeClientFrame(CLIENT[0]), ...encodeClientFrame(CLIENT[3])]);
    expect(decodeClientFrame(both, MAX).case).toBe("goodbye");
  });

  it("refuses the other side's frames where no payload has their number", () => {
    expect(outcome(decodeClientFrame, encodeProviderFrame(PROVIDER[4]))).toBe("bad_frame");
  });
});

describe("encodeQueryFrame", () => {
  it("writes what the generated encoder writes", () => {
    for (const [id, group, vectors, length] of [
      [1, 0, 1, 0],
      [0, 3, 0, 5],
      [0xffffffff, 127, 4096, 4800],
      [300, 128, 64, 20_000],
    ]) {
      const value = { id, group, vectors, ciphertext: new Uint8Array(length).fill(171) };
      expect(encodeQueryFrame(value)).toEqual(encodeClientFrame({ case: "query", value }));
    }
  });
});
