/**
 * Private layers with other w and b0 than the product has, as a {@link DeltaSource}: quantised weights and the noise and
 * rounding that the protocol would add (docs/parameters.md, Precision). Nothing is encrypted; for the audit's question
 * what w and b0 cost answers.
 *
 *   u = S·W·x + N(0, ‖W_r‖²σ_v² + σ_P²·n_pad·σ_v² + σ_E²·2N/3),  rounded to b0 bits at a uniform offset
 */
import type { AdaptedGroup, DeltaSource, PendingDelta } from "../model/delta-source.ts";
import { type LoraPair, splitLora } from "../pll/lora-split.ts";
import { quantizeRows } from "../pll/quantize.ts";
import type { RandomSource } from "../ring/random-source.ts";
import {
  errorStddev,
  HEADROOM,
  type Parameters,
  paddingStddev,
  replyBits,
  uploadBits,
  weightBits,
} from "../rlwe/parameters.ts";
import { gaussians, randomWords } from "./random-numbers.ts";

export interface Precision {
  /** Added to the product's w; and to its b0. */
  readonly weightBits: number;
  readonly replyBits: number;
}

interface SimulatedModule {
  readonly rows: number;
  readonly outFeatures: number;
  readonly basis: Float64Array;
}

interface SimulatedGroup {
  readonly spec: AdaptedGroup;
  readonly modules: readonly SimulatedModule[];
  readonly rows: number;
  readonly integers: Int16Array;
  readonly scales: Float64Array;
  readonly normBound: number;
  /** Standard deviation of each row's noise. */
  readonly noise: Float64Array;
  /** Width of a rounding cell of the reply: 2^(32 − b0). */
  readonly cell: number;
}

/** Widths that quantisation and packing can hold. */
const WEIGHT_BITS = { least: 2, most: 13 };
const MOST_REPLY_BITS = 32;

export class SimulatedLayers implements DeltaSource {
  readonly groups: readonly AdaptedGroup[];
  readonly #groups: readonly SimulatedGroup[];
  readonly #random: RandomSource;

  constructor(
    parameters: Parameters,
    groups: readonly AdaptedGroup[],
    modules: ReadonlyMap<string, LoraPair>,
    precision: Precision,
    random: RandomSource,
  ) {
    this.groups = groups;
    this.#random = random;
    this.#groups = groups.map((spec) => simulate(parameters, spec, modules, precision, random));
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    const deltas = this.#evaluate(this.#groups[group], x, tokens);
    return {
      wait: async (targets) => {
        if (targets === undefined) return deltas;
        for (const [i, delta] of deltas.entries()) targets[i].set(delta);
        return targets;
      },
    };
  }

  #evaluate(group: SimulatedGroup, x: Float32Array, tokens: number): Float32Array[] {
    const { rows, integers, scales, normBound, noise, cell, spec, modules } = group;
    const n = spec.inFeatures;
    const errors = gaussians(this.#random, tokens * rows);
    const offsets = randomWords(this.#random, tokens * rows);
    const y = new Float64Array(tokens * rows);
    for (let t = 0; t < tokens; t++) {
      let square = 0;
      for (let j = 0; j < n; j++) square += x[t * n + j] ** 2;
      const scale = 2 ** 31 / (HEADROOM * normBound * Math.sqrt(square));
      if (!(scale > 0 && Number.isFinite(scale))) continue;
      for (let r = 0; r < rows; r++) {
        let dot = 0;
        for (let j = 0; j < n; j++) dot += integers[r * n + j] * x[t * n + j];
        const i = t * rows + r;
        const offset = (offsets[i] / 2 ** 32) * cell;
        const u = scale * dot + noise[r] * errors[i] + offset;
        y[i] = (scales[r] * (Math.round(u / cell) * cell - offset)) / scale;
      }
    }
    let first = 0;
    return modules.map(({ rows: count, outFeatures, basis }) => {
      const delta = new Float32Array(tokens * outFeatures);
      for (let t = 0; t < tokens; t++) {
        for (let o = 0; o < outFeatures; o++) {
          let sum = 0;
          for (let r = 0; r < count; r++) sum += basis[o * count + r] * y[t * rows + first + r];
          delta[t * outFeatures + o] = sum;
        }
      }
      first += count;
      return delta;
    });
  }
}

function simulate(
  p: Parameters,
  spec: AdaptedGroup,
  pairs: ReadonlyMap<string, LoraPair>,
  precision: Precision,
  random: RandomSource,
): SimulatedGroup {
  const n = spec.inFeatures;
  const splits = spec.modules.map((name, i) => {
    const pair = pairs.get(name);
    if (pair === undefined) throw new RangeError(`the adapter has no module ${name}`);
    return { split: splitLora(pair, random), outFeatures: spec.outFeatures[i] };
  });
  const rows = splits.reduce((sum, { split }) => sum + split.rows, 0);
  const real = new Float64Array(rows * n);
  let offset = 0;
  for (const { split } of splits) {
    real.set(split.private, offset);
    offset += split.private.length;
  }
  const { least, most } = WEIGHT_BITS;
  const bits = Math.min(most, Math.max(least, weightBits(p, n) + precision.weightBits));
  const runs = splits.map(({ split }) => split.rows);
  const { integers, scales, normBound } = quantizeRows(real, rows, n, bits, runs);
  const word = Math.hypot(errorStddev(p), 2 ** (p.logQ - uploadBits(p)) / Math.sqrt(12));
  const hint = Math.hypot(p.hintErrorStddev, 2 ** (p.logQ - p.hintBits) / Math.sqrt(12));
  const shared = Math.hypot(
    paddingStddev(p) * word * Math.sqrt(p.paddingLength),
    hint * Math.sqrt((2 * p.ringDegree) / 3),
  );
  return {
    spec,
    modules: splits.map(({ split, outFeatures }) => ({
      rows: split.rows,
      outFeatures,
      basis: split.publicBasis,
    })),
    rows,
    integers,
    scales,
    normBound,
    noise: Float64Array.from({ length: rows }, (_, r) => {
      let square = 0;
      for (let j = 0; j < n; j++) square += integers[r * n + j] ** 2;
      return Math.hypot(shared, word * Math.sqrt(square));
    }),
    cell: 2 ** (p.logQ - Math.min(MOST_REPLY_BITS, Math.max(1, replyBits(p, n) + precision.replyBits))),
  };
}
