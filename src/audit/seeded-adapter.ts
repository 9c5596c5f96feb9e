/** A LoRA adapter of one group and activations to go with it, made from a seed: for widths that no model here has. */
import type { GroupSpec } from "../bundle/create-bundle.ts";
import type { LoraPair } from "../pll/lora-split.ts";
import type { RandomSource } from "../ring/random-source.ts";
import { gaussians } from "./random-numbers.ts";
import type { Activations } from "./score.ts";

export const SEEDED_MODULE = "layers.0.seeded";

/** Numbers that repeat (mulberry32): for made-up weights and activations, never for keys. */
export function seededSource(seed: number): RandomSource {
  let state = seed >>> 0;
  return (out) => {
    for (let i = 0; i < out.length; i++) {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      out[i] = (t ^ (t >>> 14)) >>> 8;
    }
  };
}

/** A (rank, n) and B (n, rank), standard normal. */
export function seededAdapter(
  n: number,
  rank: number,
  seed: number,
): { modules: Map<string, LoraPair>; groups: GroupSpec[] } {
  const random = seededSource(seed);
  const pair: LoraPair = {
    rank,
    inFeatures: n,
    outFeatures: n,
    a: Float32Array.from(gaussians(random, rank * n)),
    b: Float32Array.from(gaussians(random, n * rank)),
    scale: 2,
  };
  return {
    modules: new Map([[SEEDED_MODULE, pair]]),
    groups: [{ layer: 0, modules: [SEEDED_MODULE], inFeatures: n }],
  };
}

/** Vectors that score a copy. */
const HELD_OUT = 256;

/** White activations, and activations whose i-th coordinate has variance 1/i: as uneven as those of a model. */
export function seededActivations(n: number, count: number, seed: number): Activations[] {
  const random = seededSource(seed);
  const make = (vectors: number, spread: (j: number) => number): Float32Array =>
    Float32Array.from(gaussians(random, vectors * n), (value, i) => value * spread(i % n));
  const white = () => 1;
  const falling = (j: number) => 1 / Math.sqrt(j + 1);
  return [
    { name: "white vectors", seen: make(count, white), heldOut: make(HELD_OUT, white) },
    { name: "1/i spectrum", seen: make(count, falling), heldOut: make(HELD_OUT, falling) },
  ];
}
