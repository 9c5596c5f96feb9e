/**
 * One suite for every build and runtime: each kernel against the oracle. Nothing here imports what only Node has,
 * so that the same files run in a browser. Called by src/ring/kernels.test.ts.
 */
import { expect, it } from "vitest";
import type { KernelBuild } from "../../src/ring/kernels.ts";
import { memorySuite } from "./memory-suite.ts";
import { productsSuite } from "./products-suite.ts";
import { propertiesSuite } from "./properties-suite.ts";
import { roundingSuite } from "./rounding-suite.ts";
import { samplingSuite } from "./sampling-suite.ts";
import { seededOutputsDigest } from "./seeded-outputs.ts";
import { sumsOfProductsSuite } from "./sums-of-products-suite.ts";
import { wordsSuite } from "./words-suite.ts";

/** SHA-256 over seeded outputs of every kernel. A change means other bytes on the wire or other secrets from the same randomness. */
const FROZEN = "58850e4baea32e0a14d853d7dc2df6761f812a7d1f79f6ff43b8041e23be2b5c";

/** @param runs how many cases each property is tried on */
export function kernelsSuite(build: KernelBuild, runs: number): void {
  productsSuite(build);
  sumsOfProductsSuite(build);
  roundingSuite(build);
  samplingSuite(build);
  wordsSuite(build);
  memorySuite(build);
  propertiesSuite(build, runs);

  it(`seeded outputs are frozen (${build})`, () => expect(seededOutputsDigest(build)).toBe(FROZEN));
}
