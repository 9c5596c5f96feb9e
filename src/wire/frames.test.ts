/** Frames: every message survives a round trip; whatever else arrives is a frame or a typed error. */
import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import {
  type ClientMessageInit,
  decodeClientFrame,
  decodeProviderFrame,
  encodeAnswerFrame,
  encodeClientFrame,
  encodeKeyPartFrame,
  encodeProviderFrame,
  encodeQueryFrame,
  FrameMemory,
  type ProviderMessageInit,
} from "./frames.ts";

const MAX = 1 << 20;
const bytes = (count: number, first = 1) => Uint8Array.from({ length: count }, (_, i) => (first + i) & 255);

const CLIENT: NonNullable<ClientMessageInit>[] = [
  {
    case: "hello",
    value: {
      version: 2,
      adapter: "law",
      baseFingerprint: bytes(32),
      bundleDigest: bytes(32, 100),
      token: "t0ken",
      keyIds: [bytes(16), bytes(16, 3)],
    },
  },
  { case: "fetchBundle", value: {} },
  {
    case: "query",
    value: { id: 2 ** 32 - 1, group: 3, vectors: 2, ciphertext: bytes(60, 200), keyId: bytes(16) },
  },
  { case: "fetchKey", value: { id: 5, keyId: bytes(16, 9) } },
  { case: "goodbye", value: { reason: "done" } },
];

const PROVIDER: NonNullable<ProviderMessageInit>[] = [
  {
    case: "welcome",
    value: {
      version: 2,
      adapter: "law",
      bundleDigest: bytes(32),
      bundleBytes: 2n ** 40n,
      limits: { maxMessageBytes: 1 << 26, maxVectors: 4096, maxInFlight: 64 },
      keys: [{ keyId: bytes(16), vectorsLeft: 12 }],
      vectorsPerKey: 256,
    },
  },
  { case: "bundlePart", value: { offset: 2n ** 33n, data: bytes(50), last: true } },
  { case: "answer", value: { id: 7, words: bytes(30), computeMicros: 1234 } },
  { case: "failure", value: { code: 7, message: "a sentence", hint: "another", queryId: 9 } },
  { case: "failure", value: { code: 9, message: "a sentence", hint: "another", keyRequestId: 9 } },
  { case: "keyMade", value: { id: 5, keyId: bytes(16), vectorsLeft: 256 } },
  { case: "keyPart", value: { id: 5, group: 2, weights: bytes(90), hint: bytes(70), signature: bytes(64) } },
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

describe("a query written into memory that is used again", () => {
  it("is the same bytes, shorter and longer in turns", () => {
    const memory = new FrameMemory();
    for (const length of [60, 5000, 0, 127, 128, 16_384]) {
      const query = { id: 300, group: 0, vectors: 1, ciphertext: bytes(length), keyId: bytes(16) };
      expect(encodeQueryFrame(query, memory)).toEqual(encodeClientFrame({ case: "query", value: query }));
    }
  });
});

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

  it("refuses the other side's frames where no payload has their number", () => {
    expect(outcome(decodeClientFrame, encodeProviderFrame(PROVIDER[4]))).toBe("bad_frame");
  });
});

describe("encodeAnswerFrame and encodeKeyPartFrame", () => {
  it("write what the generated encoder writes", () => {
    for (const [id, length, computeMicros, left] of [
      [1, 14, 5, undefined],
      [0, 0, 0, undefined],
      [0xffffffff, 42, 0xffffffff, 0],
      [300, 127, 128, 127],
      [300, 128, 16_384, 2 ** 32],
      [7, 20_000, 70_000, Number.MAX_SAFE_INTEGER],
    ] as const) {
      const answer = { id, words: bytes(length), computeMicros };
      const vectorsLeft = left === undefined ? {} : { vectorsLeft: BigInt(left) };
      expect(encodeAnswerFrame({ ...answer, vectorsLeft: left })).toEqual(
        encodeProviderFrame({ case: "answer", value: { ...answer, ...vectorsLeft } }),
      );
    }
    for (const [id, group, weights, hint, signature] of [
      [1, 0, 73_000, 49_152, 64],
      [0xffffffff, 300, 127, 128, 0],
      [0, 0, 0, 0, 0],
    ]) {
      const value = {
        ...{ id, group, weights: bytes(weights), hint: bytes(hint, 3), signature: bytes(signature, 5) },
      };
      expect(encodeKeyPartFrame(value)).toEqual(encodeProviderFrame({ case: "keyPart", value }));
    }
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
      const value = {
        id,
        group,
        vectors,
        ciphertext: new Uint8Array(length).fill(171),
        keyId: bytes(length % 17),
      };
      expect(encodeQueryFrame(value)).toEqual(encodeClientFrame({ case: "query", value }));
    }
  });
});
