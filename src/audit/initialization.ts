/**
 * Whether the A of a LoRA adapter can be guessed from the framework that made it. A is initialised at random and moves
 * little in training; who guesses the initialisation and has B′ needs few queries for the rest (docs/security.md,
 * rule 5). Two signs, neither of them complete:
 *
 * - **seed**: a stretch of A correlates with PyTorch's CPU stream under a seed that is tried often, at any place of its
 *   first 260,000 draws or so. Says nothing of other seeds, of other generators (GPU, JAX), or of stretches drawn later.
 * - **unmoved**: the entries of A are still distributed as PEFT draws them, U(−1/√n, 1/√n) or N(0, 1/r²). Needs no
 *   seed: it says how little A has moved, and that guessing a seed would pay. An A that is Gaussian for other reasons
 *   and happens to have this deviation reads the same.
 */
import { MersenneTwister } from "./mersenne-twister.ts";

export interface InitializedMatrix {
  readonly name: string;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** A, (rank, inFeatures) row-major. */
  readonly a: Float32Array;
}

export type InitializationSign =
  | {
      readonly kind: "seed";
      readonly seed: number | "default";
      readonly module: string;
      readonly correlation: number;
    }
  | { readonly kind: "unmoved"; readonly distribution: "uniform" | "gaussian"; readonly distance: number };

/** The seed that PyTorch has when nobody sets one: torch.initial_seed() prints it. */
const TORCH_DEFAULT_SEED = 67280421310721;
/** Seeds of tutorials, trainers' defaults (42, 3407, 1234), years. */
const COMMON_SEEDS = [
  ...[0, 1, 2, 3, 4, 5, 7, 10, 21, 42, 99, 100, 123, 1234, 1337, 3407, 12345],
  ...[2020, 2021, 2022, 2023, 2024, 2025, 2026],
];
/** Draws of a stream before which A is looked for, besides twice those of its own module (torch's Linear draws too). */
const DRAWS_BEFORE = 1 << 18;
const WINDOW = 64;
const FIRST_LOOK = 16;
/** Of FIRST_LOOK and of WINDOW entries: one place in 6, and in 30,000, of a strange stream passes. */
const FIRST_CORRELATION = 0.25;
const WINDOW_CORRELATION = 0.5;
/** Of the entries that decide; by chance 8 standard deviations. */
const LEAST_ENTRIES = 1024;
const MOST_ENTRIES = 4096;
const CORRELATION = 0.25;
/** Kolmogorov's distance below which A counts as unmoved: a drift of about a quarter of the initial deviation. */
const DISTANCE = 0.03;
const MOST_SAMPLES = 1 << 17;
const LEAST_SAMPLES = 4096;

/** @param matrices in the order in which they were made: that of a forward pass */
export function initializationSigns(
  matrices: readonly InitializedMatrix[],
  { seeds = COMMON_SEEDS, before = DRAWS_BEFORE }: { seeds?: readonly number[]; before?: number } = {},
): InitializationSign[] {
  const signs: InitializationSign[] = [];
  const [first] = matrices;
  if (first !== undefined && first.a.length >= LEAST_ENTRIES) {
    const draws = before + 2 * first.rank * (first.inFeatures + first.outFeatures);
    for (const seed of [TORCH_DEFAULT_SEED, ...seeds]) {
      const correlation = correlationWith(first.a, seed, draws);
      if (correlation === undefined) continue;
      signs.push({
        kind: "seed",
        seed: seed === TORCH_DEFAULT_SEED ? "default" : seed,
        module: first.name,
        correlation,
      });
    }
  }
  for (const distribution of ["uniform", "gaussian"] as const) {
    const samples = pooled(matrices, distribution);
    if (samples.length < LEAST_SAMPLES) continue;
    const distance = kolmogorovDistance(samples, distribution === "uniform" ? uniformCdf : gaussianCdf);
    if (distance < DISTANCE) signs.push({ kind: "unmoved", distribution, distance });
  }
  return signs;
}

/** The correlation of A with the stretch of a seed's stream that it was drawn from; undefined if there is none. */
function correlationWith(a: Float32Array, seed: number, draws: number): number | undefined {
  const entries = Math.min(a.length, MOST_ENTRIES);
  const twister = new MersenneTwister(seed);
  const stream = new Float32Array(draws + entries);
  for (let i = 0; i < stream.length; i++) stream[i] = twister.uniform() - 0.5;
  const look = Array.from(a.subarray(0, FIRST_LOOK));
  // The stream's own norm is taken at its mean here: 1/12 an entry.
  const least = FIRST_CORRELATION * Math.hypot(...look) * Math.sqrt(FIRST_LOOK / 12);
  // Written out: some hundred million of these products are all the time that a look at an adapter takes.
  const [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, aa, ab, ac, ad, ae, af] = look;
  for (let at = 0; at < draws; at++) {
    const product =
      a0 * stream[at] +
      a1 * stream[at + 1] +
      a2 * stream[at + 2] +
      a3 * stream[at + 3] +
      (a4 * stream[at + 4] + a5 * stream[at + 5] + a6 * stream[at + 6] + a7 * stream[at + 7]) +
      (a8 * stream[at + 8] + a9 * stream[at + 9] + aa * stream[at + 10] + ab * stream[at + 11]) +
      (ac * stream[at + 12] + ad * stream[at + 13] + ae * stream[at + 14] + af * stream[at + 15]);
    if (!(product > least) || !(correlation(a, stream, at, WINDOW) > WINDOW_CORRELATION)) continue;
    const found = correlation(a, stream, at, entries);
    if (found > CORRELATION) return found;
  }
  return undefined;
}

/** Of the first `count` entries of a with those of the stream from a place on; both have mean 0. */
function correlation(a: Float32Array, stream: Float32Array, at: number, count: number): number {
  let product = 0;
  let left = 0;
  let right = 0;
  for (let i = 0; i < count; i++) {
    const x = a[i];
    const y = stream[at + i];
    product += x * y;
    left += x * x;
    right += y * y;
  }
  return product / Math.sqrt(left * right);
}

/** Entries of all matrices, evenly taken, in units of their initial bound 1/√n or deviation 1/r. */
function pooled(matrices: readonly InitializedMatrix[], distribution: "uniform" | "gaussian"): Float64Array {
  const total = matrices.reduce((sum, { a }) => sum + a.length, 0);
  const step = Math.max(1, Math.ceil(total / MOST_SAMPLES));
  const samples: number[] = [];
  for (const { a, rank, inFeatures } of matrices) {
    const unit = distribution === "uniform" ? Math.sqrt(inFeatures) : rank;
    for (let i = 0; i < a.length; i += step) samples.push(a[i] * unit);
  }
  return Float64Array.from(samples);
}

/** sup |F_empirical − F|, both sides of each step. */
function kolmogorovDistance(samples: Float64Array, cdf: (x: number) => number): number {
  const sorted = samples.slice().sort();
  let distance = 0;
  for (let i = 0; i < sorted.length; i++) {
    const value = cdf(sorted[i]);
    distance = Math.max(
      distance,
      Math.abs(value - i / sorted.length),
      Math.abs(value - (i + 1) / sorted.length),
    );
  }
  return distance;
}

const uniformCdf = (x: number) => Math.min(1, Math.max(0, (x + 1) / 2));

/** Φ, by Abramowitz and Stegun 7.1.26: within 1.5e-7. */
function gaussianCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const tail =
    t *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) *
    Math.exp(-z * z);
  return x > 0 ? 1 - tail / 2 : tail / 2;
}
