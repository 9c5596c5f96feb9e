/**
 * A private layer whose noise is drawn, not made: deltas as the adapter's own state gives them, W in integers and B′ in
 * float16, plus noise of the size that src/pll/noise.ts predicts. What it does to the logits is what the real thing must
 * do; nothing here is encrypted.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Bundle, type BundleTensors, decodeBundle } from "../../src/bundle/bundle.ts";
import { groupRows } from "../../src/bundle/manifest.ts";
import { readPrivateState } from "../../src/bundle/private-state.ts";
import type { AdaptedGroup, DeltaSource, PendingDelta, RoutesTaken } from "../../src/model/delta-source.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { predictedNoiseParts, scaledNorm } from "../../src/pll/noise.ts";
import { transpose } from "../../src/pll/orthogonal.ts";
import type { BaseChanges } from "../../src/weights/base-changes.ts";
import { floatProduct } from "./float-product.ts";
import { gaussianSource } from "./pll-layer.ts";

/** A state folder as it is read again. */
export interface ReadState {
  readonly bundle: Bundle;
  /** W of each group, (rows, inFeatures). */
  readonly weights: readonly Int32Array[];
}

export async function readState(dir: string): Promise<ReadState> {
  const bundle = await decodeBundle(new Uint8Array(readFileSync(join(dir, "bundle.safetensors"))));
  const { manifest, digest } = bundle;
  const { groups } = await readPrivateState(nodeFileTree(dir), "private.safetensors", manifest, digest);
  return { bundle, weights: groups.map(({ weights }) => weights) };
}

interface Group {
  readonly weights: Int32Array;
  readonly tensors: BundleTensors;
  /** B′ of each module, transposed: (rank, out). */
  readonly bases: readonly Float32Array[];
  readonly ranks: readonly number[];
  /** Standard deviation of the noise of u that every query has afresh, by row. */
  readonly freshNoise: readonly number[];
  /** W + E of the key in use, transposed, (inFeatures, rows): E is the same for all vectors of a key. */
  encrypted: Float32Array;
  /** Vectors that the key in use still takes. */
  left: number;
}

export class PredictedDeltas implements DeltaSource {
  readonly groups: readonly AdaptedGroup[];
  readonly invocationTokens: readonly number[] | undefined;
  readonly changes: BaseChanges;
  readonly #groups: readonly Group[];
  #gaussian = gaussianSource(0);
  readonly #vectorsPerKey: number;
  /** ‖c·x‖ */
  readonly #norm: number;
  readonly #weightNoise: number;

  constructor({ bundle, weights }: ReadState) {
    const { manifest } = bundle;
    const { parameters } = manifest;
    this.invocationTokens = manifest.invocationTokens;
    this.changes = bundle.changes;
    this.#vectorsPerKey = parameters.vectorsPerKey;
    this.#norm = scaledNorm(parameters);
    this.#weightNoise = predictedNoiseParts(parameters, 0).weightError / this.#norm;
    this.groups = manifest.groups.map(({ layer, modules, inFeatures, input, rowsPerToken }) => ({
      layer,
      ...(input === undefined ? {} : { input }),
      ...(rowsPerToken === undefined ? {} : { rowsPerToken }),
      modules: modules.map(({ name }) => name),
      inFeatures,
      outFeatures: modules.map(({ outFeatures }) => outFeatures),
    }));
    this.#groups = manifest.groups.map((spec, g) => {
      const n = spec.inFeatures;
      const freshNoise = Array.from({ length: groupRows(spec) }, (_, r) => {
        const rowNorm = Math.hypot(...weights[g].subarray(r * n, (r + 1) * n));
        const { weightError: _ofKey, activation, ...fresh } = predictedNoiseParts(parameters, rowNorm);
        // A one-hot has one entry that is rounded, and c·1 is nearly an integer.
        return Math.hypot(...Object.values(fresh), spec.input === "ids" ? 0 : activation);
      });
      return {
        weights: weights[g],
        tensors: bundle.groups[g],
        bases: bundle.groups[g].bases.map((basis, i) =>
          transpose(basis, spec.modules[i].outFeatures, spec.modules[i].rows),
        ),
        ranks: spec.modules.map(({ rows }) => rows),
        freshNoise,
        encrypted: new Float32Array(),
        left: 0,
      };
    });
  }

  /** Begins another run: other noise, other keys. */
  restart(seed: number): void {
    this.#gaussian = gaussianSource(seed);
    for (const group of this.#groups) group.left = 0;
  }

  begin(index: number, x: Float32Array, tokens: number): PendingDelta {
    const { outFeatures } = this.groups[index];
    const group = this.#groups[index];
    const made = this.#rows(group, x, tokens).then((y) => deltasOf(group, y, outFeatures));
    made.catch(() => {}); // wait() reports it
    return {
      async wait(targets) {
        const deltas = await made;
        for (const [i, target] of (targets ?? []).entries()) target.set(deltas[i]);
        return targets ?? deltas;
      },
    };
  }

  beginRouted(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta {
    const { outFeatures } = this.groups[group];
    const [width] = outFeatures;
    const all = this.begin(group, x, rows).wait();
    return {
      async wait() {
        const deltas = await all;
        const out = new Float32Array(routes.experts.length * width);
        for (let i = 0; i < routes.experts.length; i++) {
          const at = routes.rows[i] * width;
          out.set(deltas[routes.experts[i]].subarray(at, at + width), i * width);
        }
        return [out];
      },
    };
  }

  beginIds(group: number, ids: readonly number[]): PendingDelta {
    const { inFeatures } = this.groups[group];
    const x = new Float32Array(ids.length * inFeatures);
    for (const [t, id] of ids.entries()) x[t * inFeatures + id] = 1;
    return this.begin(group, x, ids.length);
  }

  /** y = scale·(W·x + noise of u / c), c = ‖c·x‖/‖x‖; (tokens, rows). What is drawn is drawn before the first wait. */
  async #rows(group: Group, x: Float32Array, tokens: number): Promise<Float32Array> {
    const n = x.length / tokens;
    const rows = group.freshNoise.length;
    const { scales } = group.tensors;
    const noise = this.#freshNoise(group, x, tokens);
    const y = new Float32Array(tokens * rows);
    const products: Promise<void>[] = [];
    for (let t = 0; t < tokens; ) {
      if (group.left === 0) this.#nextKey(group);
      const count = Math.min(group.left, tokens - t);
      group.left -= count;
      const first = t * rows;
      const some = x.subarray(t * n, (t + count) * n);
      const product = floatProduct(some, group.encrypted, { rows: count, inner: n, columns: rows });
      products.push(product.then((u) => y.set(u, first)));
      t += count;
    }
    await Promise.all(products);
    for (let i = 0; i < y.length; i++) y[i] = scales[i % rows] * (y[i] + noise[i]);
    return y;
  }

  /** (tokens, rows) */
  #freshNoise({ freshNoise }: Group, x: Float32Array, tokens: number): Float64Array {
    const rows = freshNoise.length;
    const n = x.length / tokens;
    const noise = new Float64Array(tokens * rows);
    for (let t = 0; t < tokens; t++) {
      let squares = 0;
      for (let i = t * n; i < (t + 1) * n; i++) squares += x[i] * x[i];
      const perUnit = Math.sqrt(squares) / this.#norm;
      for (let r = 0; r < rows; r++) noise[t * rows + r] = freshNoise[r] * this.#gaussian() * perUnit;
    }
    return noise;
  }

  #nextKey(group: Group): void {
    const noisy = new Float32Array(group.weights.length);
    for (let i = 0; i < noisy.length; i++) {
      noisy[i] = group.weights[i] + this.#weightNoise * this.#gaussian();
    }
    const rows = group.freshNoise.length;
    group.encrypted = transpose(noisy, rows, noisy.length / rows);
    group.left = this.#vectorsPerKey;
  }
}

/** B′·y of each module, (tokens, out). @param y (tokens, rows): each module has some of the columns */
async function deltasOf(
  { bases, ranks, freshNoise }: Group,
  y: Float32Array,
  outFeatures: readonly number[],
): Promise<Float32Array[]> {
  const width = freshNoise.length;
  const rows = y.length / width;
  const deltas: Float32Array[] = [];
  let first = 0;
  for (const [i, inner] of ranks.entries()) {
    const own = new Float32Array(rows * inner);
    for (let t = 0; t < rows; t++) {
      const at = t * width + first;
      own.set(y.subarray(at, at + inner), t * inner);
    }
    deltas.push(await floatProduct(own, bases[i], { rows, inner, columns: outFeatures[i] }));
    first += inner;
  }
  return deltas;
}
