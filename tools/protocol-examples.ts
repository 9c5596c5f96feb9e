/**
 * The example bytes of docs/protocol.md. Print them: npx tsx tools/protocol-examples.ts
 * Write them into the page: UPDATE_DOCS=1 npx vitest run test/vectors/protocol-examples.test.ts
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../src/base/bytes.ts";
import { ERROR_KINDS } from "../src/base/errors.ts";
import { encodeBundle } from "../src/bundle/bundle.ts";
import { BUNDLE_VERSION, type BundleManifest, encodeManifest } from "../src/bundle/manifest.ts";
import { signBundle } from "../src/bundle/signature.ts";
import { DEFAULT_PARAMETERS } from "../src/rlwe/parameters.ts";
import { publicElementBytes } from "../src/rlwe/public-elements.ts";
import { encodeClientFrame, encodeProviderFrame, PROTOCOL_VERSION } from "../src/wire/frames.ts";
import { packTop } from "../test/oracle/packing.ts";
import {
  ACTIVATION,
  BUNDLE_ID,
  computeWorkedLayer,
  IN_FEATURES,
  LAYOUT,
  NORM_BOUND,
  ROWS,
  SCALES,
} from "./worked-layer.ts";

export const FINGERPRINT = Uint8Array.from({ length: 32 }, (_, i) => 0xe0 + i);

const layer = computeWorkedLayer();

export const MANIFEST: BundleManifest = {
  version: BUNDLE_VERSION,
  adapter: "law",
  bundleId: toHex(BUNDLE_ID),
  baseFingerprint: toHex(FINGERPRINT),
  parameters: DEFAULT_PARAMETERS,
  groups: [
    {
      layer: 0,
      inFeatures: IN_FEATURES,
      output: "sealed",
      modules: [{ name: "model.layers.0.self_attn.q_proj", outFeatures: ROWS, rows: ROWS }],
      normBound: NORM_BOUND,
    },
  ],
};
export const BUNDLE = encodeBundle(MANIFEST, [{ hint: layer.hint, scales: SCALES, bases: [] }]);

export const HELLO = encodeClientFrame({
  case: "hello",
  value: { version: PROTOCOL_VERSION, adapter: "law", baseFingerprint: FINGERPRINT },
});
export const LIMITS = { maxMessageBytes: 1 << 26, maxVectors: 4096, maxInFlight: 64 };
export const WELCOME = encodeProviderFrame({
  case: "welcome",
  value: {
    version: PROTOCOL_VERSION,
    adapter: "law",
    bundleDigest: sha256(BUNDLE),
    bundleBytes: BigInt(BUNDLE.length),
    limits: LIMITS,
  },
});
export const QUERY = encodeClientFrame({
  case: "query",
  value: { id: 7, group: 0, vectors: 1, ciphertext: layer.query },
});
export const SHORT_QUERY = encodeClientFrame({
  case: "query",
  value: { id: 8, group: 0, vectors: 1, ciphertext: Uint8Array.of(0xde, 0xad, 0xbe, 0xef) },
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
    message: "a query of 1 vectors for this group has 3855 bytes, got 4",
    hint: "client and provider must use the same bundle and protocol version",
    queryId: 8,
  },
});

/** Example name → lines of its block in the page. */
export function protocolExamples(): Record<string, string> {
  const packed = Uint32Array.of(0x00000000, 0x12345678, 0x80000000, 0xfffffffe);
  const element = (group: number, kind: "data" | "padding", block: number) =>
    toHex(publicElementBytes({ bundleId: BUNDLE_ID, group, kind, block }).subarray(0, 32));
  return {
    "public-elements": lines([
      ["bundle id", toHex(BUNDLE_ID)],
      ["XOF input", `${toHex(utf8("tacet/v1/public-element"))} ${toHex(BUNDLE_ID)} 00000000 00 00000000`],
      ["group 0, data, block 0", element(0, "data", 0)],
      ["group 0, data, block 1", element(0, "data", 1)],
      ["group 0, padding, block 1", element(0, "padding", 1)],
      ["group 258, data, block 0", element(258, "data", 0)],
    ]),
    "packed-words": lines([
      ["words", [...packed].map((word) => word.toString(16).padStart(8, "0")).join(" ")],
      ...[32, 30, 24, 15].map((bits): [string, string] => [
        `top ${bits} bits`,
        toHex(packTop(packed, packed.length, bits)),
      ]),
    ]),
    layer: lines([
      ["H, row 0, first 16 bytes", toHex(layer.hint.subarray(0, 16))],
      ["H, row 1, first 16 bytes", toHex(layer.hint.subarray(6144, 6160))],
      ["H, SHA-256 of both rows", toHex(sha256(layer.hint))],
      ["x", [...ACTIVATION].join(" ")],
      ["S", String(layer.scale)],
      ["C·s + e, words 0 … 3", words(layer.mask.subarray(0, 4))],
      ["C·s + e, words 1024 … 1027", words(layer.mask.subarray(1024))],
      [`query, ${layer.query.length} bytes, first 16`, toHex(layer.query.subarray(0, 16))],
      ["query, SHA-256", toHex(sha256(layer.query))],
      ["[W | P]·v", words(layer.sums)],
      ["answer", toHex(layer.answer)],
      ["H·s", words(layer.hintProducts)],
      ["u", layer.u.join(" ")],
      ["y", layer.y.join(" ")],
    ]),
    bundle: lines([
      ["manifest", encodeManifest(MANIFEST)],
      [`file, ${BUNDLE.length} bytes, first 16`, toHex(BUNDLE.subarray(0, 16))],
      [`words of ${LAYOUT.words} in a query`, `${IN_FEATURES} data, ${LAYOUT.words - IN_FEATURES} padding`],
      ["digest", toHex(sha256(BUNDLE))],
    ]),
    hello: toHex(HELLO),
    welcome: toHex(WELCOME),
    query: lines([
      [`frame, ${QUERY.length} bytes, first 24`, toHex(QUERY.subarray(0, 24))],
      ["SHA-256", toHex(sha256(QUERY))],
    ]),
    answer: toHex(ANSWER),
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
