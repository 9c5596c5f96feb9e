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
import { wordsSuite } from "./words-suite.ts";

/** SHA-256 over seeded outputs of every kernel. A change means other bytes on the wire or other secrets from the same randomness. */
const FROZEN = "c974217781aa8a374a7ae44f961543a87c2c209b2f98c03507378839be7fe024";

/** @param runs how many cases each property is tried on */
export function kernelsSuite(build: KernelBuild, runs: number): void {
  productsSuite(build);
  samplingSuite(build);
  wordsSuite(build);
  memorySuite(build);
  propertiesSuite(build, runs);

  it(`seeded outputs are frozen (${build})`, () => expect(seededOutputsDigest(build)).toBe(FROZEN));
}
