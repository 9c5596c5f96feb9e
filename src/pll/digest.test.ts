/**
 * Freezes the bytes: what is sent, stored and published for seeded inputs, as digests. One that changes is another
 * protocol version (docs/protocol.md), or a mistake.
 *
 * The hint's error and the rotation of B′ come from Math.log and Math.cos, whose last bit is the engine's own: they
 * are left out, and a hint and a basis of fixed bytes stand in for them.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { describe, expect, it } from "vitest";
import { randomIntegers, seededRandom } from "../../test/oracle/seeded-random.ts";
import { bytesOf, concatBytes, toHex } from "../base/bytes.ts";
import { encodeBundle } from "../bundle/bundle.ts";
import type { BundleManifest, OutputMode } from "../bundle/manifest.ts";
import { encodePrivateState } from "../bundle/private-state.ts";
import { type KernelBuild, Kernels, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource } from "../rlwe/mask-source.ts";
import { DEFAULT_PARAMETERS, layoutOf, weightBits } from "../rlwe/parameters.ts";
import { expandLayout } from "../rlwe/public-elements.ts";
import { encodeClientFrame, encodeProviderFrame } from "../wire/frames.ts";
import { ClientLayer } from "./client-layer.ts";
import { ProviderLayer } from "./provider-layer.ts";
import { SecretSampler } from "./secret-sampler.ts";

const P = DEFAULT_PARAMETERS;
const ROWS = 5;
const VECTORS = 3;
const BUNDLE_ID = Uint8Array.from({ length: 16 }, (_, i) => 16 * i);

/** Padding shares a block, has its own, and follows more than one block of data. */
const WIDTHS = [96, 1500, 4096] as const;

const SESSIONS: Record<number, Record<string, string>> = {
  96: {
    padding: "6b0337aad4742b8511b4488f839324ee",
    query: "abf6f3281cf8b3a971e91298daeb872c",
    answer: "6a7455b522f4e79f15de35ce64b62e05",
    result: "33b0921310db0c7bd956a836aa3e0ecd",
  },
  1500: {
    padding: "28da76460115d13cec9b4cf6c3da4f06",
    query: "ba5384fc3196b5713dc7a49a1ecbc61d",
    answer: "db399e33f6bfb9245da30578b2da2a55",
    result: "a456fca27c99742e37a5e3707026ff4f",
  },
  4096: {
    padding: "749b6e5af3968f5f8c1852a3dbac32ea",
    query: "c9df39c9a9cabb6bbf273f9b4315e4fa",
    answer: "c875ceb52b2e24d8b7ae11736989d542",
    result: "076e96e9b0b81889180da8bbf926bb55",
  },
};
const FILES = {
  open: "466824e123f906d8a3f2fb932fdfad9a",
  sealed: "46ddb8e3a279da4a4c00143c84f5a0bc",
  privateState: "5cbc7e96761aa17937e54b58572964ec",
};
const FRAMES = { framed: "be636578e3f4783c9927405bb98d61c3" };

function bytes(seed: string, count: number): Uint8Array {
  const out = new Uint8Array(count);
  seededRandom(seed)(out);
  return out;
}

/** Everything that one layer of a seeded session computes. */
function session(n: number, build: KernelBuild = "release") {
  const kernels = Kernels.load(build);
  const pool = new BufferPool(kernels);
  const limit = 2 ** (weightBits(P, n) - 1) - 1;
  const weights = randomIntegers(seededRandom(`weights ${n}`), ROWS * n, -limit, limit);
  const sampler = new SecretSampler(seededRandom(`secrets ${n}`), "hint", [BUNDLE_ID]);
  const padding = sampler.uniformIntegers(ROWS * P.paddingLength, P.paddingLow, P.paddingHigh);
  const hint = bytes(`hint ${n}`, ROWS * packedBytes(RING_DEGREE, P.hintBits));
  const shape = { parameters: P, rows: ROWS, inFeatures: n };
  const elements = expandLayout(kernels, pool, layoutOf(P, n), BUNDLE_ID, 1);
  const scales = Float64Array.from({ length: ROWS }, (_, r) => (8 + r) / 8192);
  const normBound = 2 ** 16;
  const masks = new MaskSource(kernels, pool, seededRandom(`masks ${n}`));
  const client = new ClientLayer(kernels, pool, masks, { ...shape, elements, hint, scales, normBound });
  const provider = new ProviderLayer(kernels, pool, { ...shape, weights, padding });
  const x = Float32Array.from(
    randomIntegers(seededRandom(`x ${n}`), VECTORS * n, -1000, 1000),
    (v) => v / 64,
  );
  const one = client.prepareMasks(VECTORS);
  const query = client.makeQuery(one, x);
  const answer = provider.answerQuery(query, VECTORS);
  const result = client.recoverResult(one, answer);
  return { weights, padding, hint, scales, normBound, query, answer, result };
}

function digests(parts: Record<string, ArrayBufferView>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parts).map(([name, view]) => [name, toHex(sha256(bytesOf(view))).slice(0, 32)]),
  );
}

describe("frozen bytes", () => {
  it.each(WIDTHS)("of a session at n = %i: P, three queries, their answers, the results", (n) => {
    const { padding, query, answer, result } = session(n);
    expect(digests({ padding, query, answer, result })).toEqual(SESSIONS[n]);
  });

  it("are the same from the debug kernels", () => {
    const { query, answer, result } = session(96, "debug");
    expect(SESSIONS[96]).toMatchObject(digests({ query, answer, result }));
  });

  it("of the files: a bundle in each mode and a private state", () => {
    const parts = WIDTHS.map((n) => session(n));
    const manifest = (output: OutputMode): BundleManifest => ({
      version: 1,
      adapter: "frozen",
      bundleId: toHex(BUNDLE_ID),
      baseFingerprint: "5a".repeat(32),
      parameters: P,
      groups: WIDTHS.map((n, layer) => ({
        layer,
        inFeatures: n,
        output,
        modules: [
          { name: `layers.${layer}`, outFeatures: output === "sealed" ? ROWS : 2 * ROWS, rows: ROWS },
        ],
        normBound: parts[layer].normBound,
      })),
    });
    const basis = Float32Array.from({ length: 2 * ROWS * ROWS }, (_, i) => (i % (ROWS + 1) === 0 ? 1 : 0));
    const open = encodeBundle(
      manifest("public-basis"),
      parts.map(({ hint, scales }) => ({ hint, scales, bases: [basis] })),
    );
    const sealed = encodeBundle(
      manifest("sealed"),
      parts.map(({ hint, scales }) => ({ hint, scales, bases: [] })),
    );
    const privateState = encodePrivateState(manifest("sealed"), sha256(sealed), parts);
    expect(digests({ open, sealed, privateState })).toEqual(FILES);
  });

  it("of the frames", () => {
    const { query, answer } = session(96);
    const limits = { maxMessageBytes: 1 << 26, maxVectors: 4096, maxInFlight: 64 };
    const baseFingerprint = new Uint8Array(32).fill(0x5a);
    const frames = [
      encodeClientFrame({
        case: "hello",
        value: {
          version: 1,
          adapter: "frozen",
          baseFingerprint,
          bundleDigest: sha256(BUNDLE_ID),
          token: "t",
        },
      }),
      encodeClientFrame({ case: "fetchBundle", value: {} }),
      encodeClientFrame({ case: "query", value: { id: 300, group: 1, vectors: VECTORS, ciphertext: query } }),
      encodeClientFrame({ case: "goodbye", value: { reason: "done" } }),
      encodeProviderFrame({
        case: "welcome",
        value: {
          version: 1,
          adapter: "frozen",
          bundleDigest: sha256(BUNDLE_ID),
          bundleBytes: 2n ** 33n,
          limits,
        },
      }),
      encodeProviderFrame({ case: "bundlePart", value: { offset: 2n ** 20n, data: BUNDLE_ID, last: true } }),
      encodeProviderFrame({ case: "answer", value: { id: 300, words: answer, computeMicros: 40 } }),
      encodeProviderFrame({ case: "failure", value: { code: 7, message: "m", hint: "h", queryId: 300 } }),
      encodeProviderFrame({ case: "goodbye", value: { reason: "done" } }),
    ];
    const framed = concatBytes(...frames.map((frame) => concatBytes(Uint8Array.of(frame.length), frame)));
    expect(digests({ framed })).toEqual(FRAMES);
  });
});
