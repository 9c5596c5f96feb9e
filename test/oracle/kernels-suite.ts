/**
 * One suite for every build and runtime: each kernel against the oracle. Nothing here imports what only Node has,
 * so that the same files run in a browser. Called by src/ring/kernels.test.ts.
 */
import { expect, it } from "vitest";
import type { KernelBuild } from "../../src/ring/kernels.ts";
import { memorySuite } from "./memory-suite.ts";
import { productsSuite } from "./products-suite.ts";
import { propertiesSuite } from "./properties-suite.ts";
import { samplingSuite } from "./sampling-suite.ts";
import { seededOutputsDigest } from "./seeded-outputs.ts";
import { wideProductsSuite } from "./wide-products-suite.ts";
import { wordsSuite } from "./words-suite.ts";

/** SHA-256 over seeded outputs of every kernel. A change means other bytes on the wire or other secrets from the same randomness. */
const FROZEN = "62d947cce8bad0057490bee7a5cb81634fe6171c15aeb3b83e70a70e0082e4d8";

/** @param runs how many cases each property is tried on */
export function kernelsSuite(build: KernelBuild, runs: number): void {
  productsSuite(build);
  wideProductsSuite(build);
  samplingSuite(build);
  wordsSuite(build);
  memorySuite(build);
  propertiesSuite(build, runs);

  it(`seeded outputs are frozen (${build})`, () => expect(seededOutputsDigest(build)).toBe(FROZEN));
}
