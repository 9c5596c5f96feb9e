/**
 * The same seed must never give another B or H: two matrices under one S and E give S away (key-secrets.ts). So what a
 * seed gives is pinned for each version of keys. When this test fails, raise KEY_VERSION and add a row; never edit one.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { expect, it } from "vitest";
import { toHex } from "../base/bytes.ts";
import { Kernels } from "../ring/kernels.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import { PublicElements } from "../rlwe/public-elements.ts";
import { KEY_VERSION } from "./key-secrets.ts";
import { ProviderLayer } from "./provider-layer.ts";

/** SHA-256 of B and of H, by version of keys. */
const GOLDEN: Readonly<Record<number, { readonly weights: string; readonly hint: string }>> = {
  1: {
    weights: "e6188592c07e04f51f5ac80576c15d2592a78d20f170045f9c638908beefc79f",
    hint: "9a87353d75210b22f1c55f84ae20b8f4c7b69ae8c0bff9326c1b69d6bfa0954a",
  },
};

const ROWS = 3;
/** A whole block and a short one. */
const WIDTH = 2500;

it("what a seed gives changes only with the version of keys", () => {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const elements = new PublicElements(
    kernels,
    pool,
    Uint8Array.from({ length: 16 }, (_, i) => 3 * i),
  );
  const weights = Int32Array.from({ length: ROWS * WIDTH }, (_, i) => ((i * 7919) % 16_001) - 8000);
  const layer = new ProviderLayer(kernels, pool, elements, {
    parameters: P,
    rows: ROWS,
    inFeatures: WIDTH,
    weights,
  });
  const key = layer.encryptWeights(Uint8Array.from({ length: 32 }, (_, i) => 255 - i));
  const digests = { weights: toHex(sha256(key.weights)), hint: toHex(sha256(key.hint)) };
  expect(digests).toEqual(GOLDEN[KEY_VERSION]);
  expect(new Set(Object.values(GOLDEN).flatMap(Object.values)).size).toBe(2 * Object.keys(GOLDEN).length);
  expect(Math.max(...Object.keys(GOLDEN).map(Number))).toBe(KEY_VERSION);
});
