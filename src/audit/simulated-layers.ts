/**
 * Private layers with another b0 and other errors than the product has, as a {@link DeltaSource}: quantised weights and the
 * noise and rounding that the protocol would add (docs/parameters.md, Precision). Nothing is encrypted; for the audit's
 * question what b0 and the width of E cost answers.
 *
 *   u = c·W·x + N(0, Σ of the variances of noise.ts),  rounded to b0 bits at a uniform offset
 */
import type { AdaptedGroup, DeltaSource, PendingDelta } from "../model/delta-source.ts";
import { type LoraPair, splitLora } from "../pll/lora-split.ts";
import { predictedNoiseParts, scaledNorm } from "../pll/noise.ts";
import { quantizeRows } from "../pll/quantize.ts";
import type { RandomSource } from "../ring/random-source.ts";
import type { Parameters } from "../rlwe/parameters.ts";
import type { BaseChanges } from "../weights/base-changes.ts";
import { gaussians, randomWords } from "./random-numbers.ts";

export interface Precision {
  /** Added to the product's b0. */
  readonly replyBits: number;
  /** Added to the bits of E. */
  readonly weightErrorBits: number;
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
  readonly integers: Int32Array;
  readonly scales: Float64Array;
  /** ‖c·x‖ */
  readonly scaledNorm: number;
  /** Standard deviation of each row's noise. */
  readonly noise: Float64Array;
  /** Width of a rounding cell of the reply: 2^(32 − b0). */
  readonly cell: number;
}

const MOST_REPLY_BITS = 32;

/** What `fitAdapter` gives. */
interface SimulatedAdapter {
  readonly groups: readonly AdaptedGroup[];
  readonly modules: ReadonlyMap<string, LoraPair>;
  readonly changes?: BaseChanges;
}

export class SimulatedLayers implements DeltaSource {
  readonly groups: readonly AdaptedGroup[];
  readonly changes: BaseChanges | undefined;
  readonly #groups: readonly SimulatedGroup[];
  readonly #random: RandomSource;

  constructor(
    parameters: Parameters,
    { groups, modules, changes }: SimulatedAdapter,
    precision: Precision,
    random: RandomSource,
  ) {
    this.groups = groups;
    this.changes = changes;
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

  beginIds(group: number, ids: readonly number[]): PendingDelta {
    const { inFeatures } = this.groups[group];
    const x = new Float32Array(ids.length * inFeatures);
    for (const [t, id] of ids.entries()) x[t * inFeatures + id] = 1;
    return this.begin(group, x, ids.length);
  }

  #evaluate(group: SimulatedGroup, x: Float32Array, tokens: number): Float32Array[] {
    const { rows, integers, scales, noise, cell, spec, modules } = group;
    const n = spec.inFeatures;
    const errors = gaussians(this.#random, tokens * rows);
    const offsets = randomWords(this.#random, tokens * rows);
    const y = new Float64Array(tokens * rows);
    for (let t = 0; t < tokens; t++) {
      let square = 0;
      for (let j = 0; j < n; j++) square += x[t * n + j] ** 2;
      const scale = group.scaledNorm / Math.sqrt(square);
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
  const runs = splits.map(({ split }) => split.rows);
  const { integers, scales } = quantizeRows(real, rows, n, p.rowNorm, runs);
  const changed = {
    ...p,
    replyBits: Math.min(MOST_REPLY_BITS, Math.max(1, p.replyBits + precision.replyBits)),
    weightErrorBits: Math.max(1, p.weightErrorBits + precision.weightErrorBits),
  };
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
    scaledNorm: scaledNorm(p),
    noise: Float64Array.from({ length: rows }, (_, r) => {
      const row = integers.subarray(r * n, (r + 1) * n);
      const { reply: _reply, ...parts } = predictedNoiseParts(changed, Math.hypot(...row));
      return Math.hypot(...Object.values(parts));
    }),
    cell: 2 ** (p.logQ - changed.replyBits),
  };
}
