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
    answer: "ea72658b7209715dcda2fdcebfeafa6a",
    hint: "820829abc74d85a9cda4d4fc3bf03e0b",
    query: "b0324f46af9bc899e46c7cc0a913f9ce",
    result: "8fc4939d2414f89928d1449fcff4997f",
    seed: "31943ed7ac94f8e428a86eb8773319cb",
    weights: "e669bc06f7f953f5bbd19b08c5cf24b1",
  },
  4096: {
    answer: "78ff34ae83dbf35ddce5679e3d7f2268",
    hint: "0f244e7b76aa1ce8d348377109a0c583",
    query: "d73ee366b18647315bd68149509aff62",
    result: "8d9497f2bc8d0287cdf72eab8c488769",
    seed: "87123bd464c965be0d2ccf01fb7ae744",
    weights: "94fe8a49c937e07a02f25e0755aab30c",
  },
  4500: {
    answer: "78c4895eb42ab6334cb1bb02c24ef555",
    hint: "081c58e9fd3979ee094e8a6fe7879050",
    query: "2f6e412579f8c5fdf9169ffcf1191abb",
    result: "3dfcc77750b95f480a601b70288c6b92",
    seed: "228313631350931b33f9058b39ababd8",
    weights: "fb35ddec960dc621a98d437cd08e542e",
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
