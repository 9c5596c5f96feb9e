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
    answer: "7e1593b59cec5d9b5ea40c4bb91e7482",
    hint: "aed9c16d0b654dfe4156b5b499a9b394",
    query: "b0324f46af9bc899e46c7cc0a913f9ce",
    result: "477b7072ed11e7bd3e602438da507dcc",
    seed: "82e9acc23a81eb43448bd4c2dc0ad97a",
    weights: "6e192778483653a92242e099225e13f3",
  },
  4096: {
    answer: "d1e825d3e165da81171534c023f59bfd",
    hint: "985d5da928a6301a697841d862b477df",
    query: "d73ee366b18647315bd68149509aff62",
    result: "cce73aee02d956854de886be4b998e27",
    seed: "dac7398a3dab1f391277ee7f505b3f27",
    weights: "9a70ceb02d72a397d6b7097d4c5bb7fe",
  },
  4500: {
    answer: "f44a1b9a25a80b50f7d1b833741b98d1",
    hint: "314def905bfeee95c5b81a76ee27d6ad",
    query: "2f6e412579f8c5fdf9169ffcf1191abb",
    result: "d38f57d5cea486d7e308f03ed31d1044",
    seed: "c90889d6cd0bdf569455e2906ef9b3d1",
    weights: "962b9147eaabe8bd46a3abc2a965f61c",
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
  const masks = new MaskSource(kernels, pool, P, elements.element(0, false), seededRandom(`masks ${n}`));
  const shape = { parameters: P, rows: ROWS, inFeatures: n };
  const scales = Float64Array.from({ length: ROWS }, (_, r) => (8 + r) / 8192);
  const client = new ClientLayer(kernels, pool, masks, elements, { ...shape, scales });
  const provider = new ProviderLayer(kernels, pool, elements, { ...shape, weights });
  const seed = keySeed({
    rootSecret: bytes("root", 32),
    bundleDigest: bytes("bundle", 32),
    weightsDigest: provider.weightsDigest,
    elementsDigest: provider.elementsDigest,
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
