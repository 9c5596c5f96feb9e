/** A LoRA adapter of two groups that fits in a few kilobytes, and the bundle that is made of it. */
import { type CreateBundleInput, type CreatedBundle, createBundle } from "../../src/bundle/create-bundle.ts";
import type { LoraPair } from "../../src/pll/lora-split.ts";
import { type RandomSource, systemRandom } from "../../src/ring/random-source.ts";
import { gaussianSource } from "./pll-layer.ts";

function pair(rank: number, inFeatures: number, outFeatures: number, seed: number): LoraPair {
  const gaussian = gaussianSource(seed);
  return {
    rank,
    inFeatures,
    outFeatures,
    a: Float32Array.from({ length: rank * inFeatures }, () => 0.1 * gaussian()),
    b: Float32Array.from({ length: outFeatures * rank }, () => 0.1 * gaussian()),
    scale: 2,
  };
}

/** q and v of one layer (24 inputs), down of the next (40 inputs). */
export function tinyAdapter(): CreateBundleInput {
  return {
    adapter: "tiny",
    baseFingerprint: new Uint8Array(32).fill(0x5a),
    groups: [
      { layer: 0, modules: ["m.0.q", "m.0.v"], inFeatures: 24 },
      { layer: 1, modules: ["m.1.down"], inFeatures: 40 },
    ],
    modules: new Map([
      ["m.0.q", pair(4, 24, 20, 1)],
      ["m.0.v", pair(2, 24, 12, 2)],
      ["m.1.down", pair(3, 40, 24, 3)],
    ]),
  };
}

export function tinyBundle(random: RandomSource = systemRandom): Promise<CreatedBundle> {
  return createBundle(tinyAdapter(), random);
}

/** A group of 24 inputs and 512 rows: its answers take longer than its queries say. */
export function tallBundle(): Promise<CreatedBundle> {
  const groups = [{ layer: 0, modules: ["m.0.q"], inFeatures: 24 }];
  const modules = new Map([["m.0.q", pair(512, 24, 2_048, 4)]]);
  return createBundle({ ...tinyAdapter(), groups, modules }, systemRandom);
}
