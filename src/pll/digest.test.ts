/**
 * Freezes the bytes of a session: the seed of a key, what encrypts weights, queries, answers and results for seeded
 * inputs, as digests. One that changes is another protocol version (docs/protocol.md), or a mistake.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { describe, expect, it } from "vitest";
import { randomIntegers, seededRandom } from "../../test/oracle/seeded-random.ts";
import { bytesOf, toHex } from "../base/bytes.ts";
import { type KernelBuild, Kernels } from "../ring/kernels.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource } from "../rlwe/mask-source.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import { PublicElements } from "../rlwe/public-elements.ts";
import { ClientLayer } from "./client-layer.ts";
import { keySeed } from "./key-secrets.ts";
import { ProviderLayer } from "./provider-layer.ts";

const ROWS = 5;
const VECTORS = 3;
const BUNDLE_ID = Uint8Array.from({ length: 16 }, (_, i) => 16 * i);

/** Less than a block, whole blocks, and a short last block. */
const WIDTHS = [96, 4096, 4500] as const;

const SESSIONS: Record<number, Record<string, string>> = {
  96: {
    answer: "872312d18d476ab83ccfa32bfc7a63a9",
    hint: "19286e0d8620a54fd3e2391818ae7913",
    query: "b0324f46af9bc899e46c7cc0a913f9ce",
    result: "9518a43a390976dfd780c29a6defa042",
    seed: "02761daec334f9ad9490ecff434de7c2",
    weights: "0e3f0676da0f992af352c6f2f9e4a065",
  },
  4096: {
    answer: "964fe0363c5efa9ce2dd12f0463bcff2",
    hint: "8db4580e85ff20dd0329a530ebf7ec45",
    query: "d73ee366b18647315bd68149509aff62",
    result: "469ba5daec5c67c46ceb72038d314366",
    seed: "35c977cb18f4dbef7e9b48c96d3ea97c",
    weights: "2bf704847f53cf52d4958d8df1afcbee",
  },
  4500: {
    answer: "e356077ea3dfb6045194a37910587fb8",
    hint: "0921cb4b97f776b24e8bc200725ae7c2",
    query: "2f6e412579f8c5fdf9169ffcf1191abb",
    result: "d9a361cc2e460dd329153e63649fd380",
    seed: "1961bc7bc9718e56450affc4fa7ef070",
    weights: "8eb57cd367810f639c9eadf1c083fef3",
  },
};

function bytes(seed: string, count: number): Uint8Array {
  const out = new Uint8Array(count);
  seededRandom(seed)(out);
  return out;
}

/** Everything that one layer of a seeded session computes. */
function session(n: number, build: KernelBuild = "release") {
  const kernels = Kernels.load(build);
  const pool = new BufferPool(kernels);
  // No row is longer than R.
  const limit = Math.min(2 ** 15 - 1, Math.floor(P.rowNorm / Math.sqrt(n)));
  const weights = Int32Array.from(randomIntegers(seededRandom(`weights ${n}`), ROWS * n, -limit, limit));
  const elements = new PublicElements(kernels, pool, BUNDLE_ID);
  const masks = new MaskSource(kernels, pool, P, elements.mask(), seededRandom(`masks ${n}`));
  const shape = { parameters: P, rows: ROWS, inFeatures: n };
  const scales = Float64Array.from({ length: ROWS }, (_, r) => (8 + r) / 8192);
  const client = new ClientLayer(kernels, pool, masks, elements, { ...shape, scales });
  const provider = new ProviderLayer(kernels, pool, elements, { ...shape, weights });
  const seed = keySeed({
    rootSecret: bytes("root", 32),
    bundleDigest: bytes("bundle", 32),
    weightsDigest: provider.weightsDigest,
    parameters: P,
    account: bytes("account", 16),
    keyId: bytes("key id", 16),
    group: 3,
  });
  const key = provider.encryptWeights(seed);
  const secret = provider.deriveSecret(seed);
  const x = Float32Array.from(
    randomIntegers(seededRandom(`x ${n}`), VECTORS * n, -1000, 1000),
    (v) => v / 64,
  );
  const query = client.makeQuery(masks.make(VECTORS), x);
  const answer = provider.answerQuery(secret, query.bytes, VECTORS);
  client.applyKey(query, client.loadKey(key));
  const result = client.recoverResult(query, answer);
  return { seed, weights: key.weights, hint: key.hint, query: query.bytes, answer, result };
}

function digests(parts: Record<string, ArrayBufferView>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parts).map(([name, view]) => [name, toHex(sha256(bytesOf(view))).slice(0, 32)]),
  );
}

describe("frozen bytes", () => {
  it.each(WIDTHS)("of a session at n = %i: a key, three queries, their answers, the results", (n) => {
    expect(digests(session(n))).toEqual(SESSIONS[n]);
  });

  it("are the same from the debug kernels", () => {
    expect(digests(session(4500, "debug"))).toEqual(SESSIONS[4500]);
  });
});
