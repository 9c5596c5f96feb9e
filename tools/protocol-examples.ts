/**
 * The example bytes of docs/protocol.md. Print them: npx tsx tools/protocol-examples.ts
 * Write them into the page: UPDATE_DOCS=1 npx vitest run test/vectors/protocol-examples.test.ts
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../src/base/bytes.ts";
import { ERROR_KINDS } from "../src/base/errors.ts";
import { encodeBundle } from "../src/bundle/bundle.ts";
import { keyPartDigest, signKey } from "../src/bundle/key-signature.ts";
import { BUNDLE_VERSION, type BundleManifest, encodeManifest } from "../src/bundle/manifest.ts";
import { publicKeyOf, signBundle } from "../src/bundle/signature.ts";
import { DEFAULT_PARAMETERS } from "../src/rlwe/parameters.ts";
import { publicElementBytes } from "../src/rlwe/public-elements.ts";
import { encodeClientFrame, encodeProviderFrame, PROTOCOL_VERSION } from "../src/wire/frames.ts";
import { packTop } from "../test/oracle/packing.ts";
import { ACTIVATION, BUNDLE_ID, computeWorkedLayer, IN_FEATURES, ROWS, SCALES } from "./worked-layer.ts";

export const FINGERPRINT = Uint8Array.from({ length: 32 }, (_, i) => 0xe0 + i);
/** What signs keys: 20 21 … 3f. */
export const KEY_SIGNING_KEY = Uint8Array.from({ length: 32 }, (_, i) => 0x20 + i);

const layer = computeWorkedLayer();

export const MANIFEST: BundleManifest = {
  version: BUNDLE_VERSION,
  adapter: "law",
  bundleId: toHex(BUNDLE_ID),
  baseFingerprint: toHex(FINGERPRINT),
  keySigner: toHex(publicKeyOf(KEY_SIGNING_KEY)),
  parameters: DEFAULT_PARAMETERS,
  groups: [
    {
      layer: 0,
      inFeatures: IN_FEATURES,
      modules: [{ name: "model.layers.0.self_attn.q_proj", outFeatures: ROWS, rows: ROWS }],
    },
  ],
};
/** B′ is the identity. */
export const BUNDLE = encodeBundle(MANIFEST, [{ scales: SCALES, bases: [Float32Array.of(1, 0, 0, 1)] }]);

/** Epoch f0 f1 … f7, the account's first. */
export const KEY_ID = Uint8Array.of(0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0, 0, 0, 0, 0, 0, 0, 1);

export const HELLO = encodeClientFrame({
  case: "hello",
  value: { version: PROTOCOL_VERSION, adapter: "law", baseFingerprint: FINGERPRINT },
});
export const LIMITS = { maxMessageBytes: 1 << 26, maxVectors: 128, maxInFlight: 64 };
export const WELCOME = encodeProviderFrame({
  case: "welcome",
  value: {
    version: PROTOCOL_VERSION,
    adapter: "law",
    bundleDigest: sha256(BUNDLE),
    bundleBytes: BigInt(BUNDLE.length),
    limits: LIMITS,
    vectorsPerKey: DEFAULT_PARAMETERS.vectorsPerKey,
  },
});
export const FETCH_KEY = encodeClientFrame({ case: "fetchKey", value: { id: 5 } });
/** The same key again. */
export const FETCH_AGAIN = encodeClientFrame({ case: "fetchKey", value: { id: 6, keyId: KEY_ID } });
const { vectorsPerKey } = DEFAULT_PARAMETERS;
export const KEY_MADE = encodeProviderFrame({
  case: "keyMade",
  value: { id: 5, keyId: KEY_ID, vectorsLeft: vectorsPerKey },
});
const identity = { bundleDigest: sha256(BUNDLE), keyId: KEY_ID };
export const KEY_PART_DIGEST = keyPartDigest(layer);
export const KEY_SIGNATURE = signKey(KEY_SIGNING_KEY, identity, [KEY_PART_DIGEST]);
const part = { group: 0, weights: layer.weights, hint: layer.hint, signature: KEY_SIGNATURE };
export const KEY_PART = encodeProviderFrame({ case: "keyPart", value: { id: 5, ...part } });
/** Of a session later on: what Hello says of the key, and what comes back. */
export const HELLO_AGAIN = encodeClientFrame({
  case: "hello",
  value: {
    version: PROTOCOL_VERSION,
    adapter: "law",
    baseFingerprint: FINGERPRINT,
    bundleDigest: sha256(BUNDLE),
    keyIds: [KEY_ID],
  },
});
export const QUERY = encodeClientFrame({
  case: "query",
  value: { id: 7, group: 0, vectors: 1, ciphertext: layer.query, keyId: KEY_ID },
});
export const SHORT_QUERY = encodeClientFrame({
  case: "query",
  value: { id: 8, group: 0, vectors: 1, ciphertext: Uint8Array.of(0xde, 0xad, 0xbe, 0xef), keyId: KEY_ID },
});
export const ANSWER = encodeProviderFrame({ case: "answer", value: { id: 7, words: layer.answer } });
/** By the signing key 00 01 02 … 1f. */
const SIGNATURE = signBundle(
  Uint8Array.from({ length: 32 }, (_, i) => i),
  sha256(BUNDLE),
);
/** With an account whose budget is 5,000 vectors a day. */
export const METERED_WELCOME = encodeProviderFrame({
  case: "welcome",
  value: {
    version: PROTOCOL_VERSION,
    adapter: "law",
    bundleDigest: sha256(BUNDLE),
    bundleBytes: BigInt(BUNDLE.length),
    limits: LIMITS,
    vectorsPerKey: DEFAULT_PARAMETERS.vectorsPerKey,
    keys: [{ keyId: KEY_ID, vectorsLeft: vectorsPerKey - 1 }],
    budget: { vectors: 5000n, windowSeconds: 86_400, left: 4321n },
    bundleSigner: SIGNATURE.publicKey,
    bundleSignature: SIGNATURE.signature,
  },
});
export const METERED_ANSWER = encodeProviderFrame({
  case: "answer",
  value: { id: 7, words: layer.answer, vectorsLeft: 4320n },
});
export const FAILURE = encodeProviderFrame({
  case: "failure",
  value: {
    code: ERROR_KINDS.bad_query.wire,
    message: `a query of 1 vectors for this group has ${layer.query.length} bytes, got 4`,
    hint: "client and provider must use the same bundle and protocol version",
    queryId: 8,
  },
});

export const UNKNOWN_KEY = encodeProviderFrame({
  case: "failure",
  value: {
    code: ERROR_KINDS.unknown_key.wire,
    message: "the provider has no such key of this account, or not any more",
    hint: "ask for another key; the query may be sent again under it",
    keyRequestId: 6,
  },
});

/** Example name → lines of its block in the page. */
export function protocolExamples(): Record<string, string> {
  const packed = Uint32Array.of(0x00000000, 0x12345678, 0x80000000, 0xfffffffe);
  const element = (index: number) => toHex(publicElementBytes(BUNDLE_ID, index).subarray(0, 32));
  const { secrets } = layer;
  return {
    "public-elements": lines([
      ["bundle id", toHex(BUNDLE_ID)],
      ["XOF input of a_0", `${toHex(utf8("tacet/v2/public-element"))} ${toHex(BUNDLE_ID)} 00000000`],
      ["a_0", element(0)],
      ["a_1", element(1)],
      ["a_258", element(258)],
    ]),
    "packed-words": lines([
      ["words", [...packed].map((word) => word.toString(16).padStart(8, "0")).join(" ")],
      ...[32, 27, 25, 24, 14].map((bits): [string, string] => [
        `top ${bits} bits`,
        toHex(packTop(packed, packed.length, bits)),
      ]),
    ]),
    layer: lines([
      ["S, row 0, first 8", [...secrets[0].secret.subarray(0, 8)].join(" ")],
      ["E, rows 0 and 1", secrets.map(({ weightErrors }) => [...weightErrors].join(" ")).join(", ")],
      ["E_H, row 0, first 8", [...secrets[0].hintErrors.subarray(0, 8)].join(" ")],
      ["B, both rows", toHex(layer.weights)],
      ["H, row 0, first 16 bytes", toHex(layer.hint.subarray(0, 16))],
      ["H, SHA-256 of both rows", toHex(sha256(layer.hint))],
      ["x", [...ACTIVATION].join(" ")],
      ["c", String(layer.scale)],
      ["x̂", layer.activation.join(" ")],
      ["a_0·s + e, words 0 … 3", words(layer.mask.subarray(0, 4))],
      ["y, words 0 … 3", words(layer.hidden.subarray(0, 4))],
      [`query, ${layer.query.length} bytes, first 16`, toHex(layer.query.subarray(0, 16))],
      ["query, SHA-256", toHex(sha256(layer.query))],
      ["S·v", words(layer.sums)],
      ["answer", toHex(layer.answer)],
      ["B·x̂ + H·s", words(layer.products)],
      ["u", layer.u.join(" ")],
      ["result", layer.y.join(" ")],
    ]),
    bundle: lines([
      ["manifest", encodeManifest(MANIFEST)],
      [`file, ${BUNDLE.length} bytes, first 16`, toHex(BUNDLE.subarray(0, 16))],
      ["digest", toHex(sha256(BUNDLE))],
    ]),
    hello: toHex(HELLO),
    welcome: toHex(WELCOME),
    query: lines([
      [`frame, ${QUERY.length} bytes, first 24`, toHex(QUERY.subarray(0, 24))],
      ["SHA-256", toHex(sha256(QUERY))],
    ]),
    answer: toHex(ANSWER),
    "hello-again": toHex(HELLO_AGAIN),
    "fetch-key": lines([
      ["a new key", toHex(FETCH_KEY)],
      ["the same again", toHex(FETCH_AGAIN)],
    ]),
    "key-made": toHex(KEY_MADE),
    "key-part": lines([
      [`frame, ${KEY_PART.length} bytes, first 24`, toHex(KEY_PART.subarray(0, 24))],
      ["digest of the part", toHex(KEY_PART_DIGEST)],
      ["signature of the key", toHex(KEY_SIGNATURE)],
      ["SHA-256", toHex(sha256(KEY_PART))],
    ]),
    "unknown-key": toHex(UNKNOWN_KEY),
    "metered-welcome": toHex(METERED_WELCOME),
    "metered-answer": toHex(METERED_ANSWER),
    "short-query": toHex(SHORT_QUERY),
    failure: toHex(FAILURE),
  };
}

function words(values: ArrayLike<number>): string {
  return Array.from(values, (value) => (value >>> 0).toString(16).padStart(8, "0")).join(" ");
}

function lines(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}

if (process.argv[1]?.endsWith("protocol-examples.ts")) {
  for (const [name, text] of Object.entries(protocolExamples())) console.log(`## ${name}\n${text}\n`);
}
