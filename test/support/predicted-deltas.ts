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
import type { BaseChanges } from "../../src/weights/base-changes.ts";
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
  /** B′ of each module, (out, rank). */
  readonly bases: readonly Float64Array[];
  readonly ranks: readonly number[];
  /** Standard deviation of the noise of u that every query has afresh, by row. */
  readonly freshNoise: readonly number[];
  /** W + E of the key in use, (rows, inFeatures): E is the same for all vectors of a key. */
  readonly encrypted: Float64Array;
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
        bases: bundle.groups[g].bases.map((basis) => Float64Array.from(basis)),
        ranks: spec.modules.map(({ rows }) => rows),
        freshNoise,
        encrypted: new Float64Array(weights[g].length),
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
    const rows = group.freshNoise.length;
    const y = this.#rows(group, x, tokens);
    let first = 0;
    const deltas = group.ranks.map((rank, i) => {
      const out = new Float64Array(tokens * outFeatures[i]);
      multiply({ a: y, aStride: rows, aFirst: first, aRows: tokens, b: group.bases[i], n: rank, out });
      first += rank;
      return Float32Array.from(out);
    });
    return {
      async wait(targets) {
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

  /** y = scale·(W·x + noise of u / c), c = ‖c·x‖/‖x‖; (tokens, rows). */
  #rows(group: Group, x: Float32Array, tokens: number): Float64Array {
    const n = x.length / tokens;
    const rows = group.freshNoise.length;
    const y = new Float64Array(tokens * rows);
    for (let t = 0; t < tokens; ) {
      if (group.left === 0) this.#nextKey(group);
      const count = Math.min(group.left, tokens - t);
      group.left -= count;
      const some = x.subarray(t * n, (t + count) * n);
      const out = y.subarray(t * rows, (t + count) * rows);
      multiply({ a: some, aStride: n, aFirst: 0, aRows: count, b: group.encrypted, n, out });
      this.#addFresh(group, some, out);
      t += count;
    }
    return y;
  }

  #addFresh({ freshNoise, tensors }: Group, x: Float32Array, y: Float64Array): void {
    const rows = freshNoise.length;
    const n = (x.length * rows) / y.length;
    for (let t = 0; t * n < x.length; t++) {
      let squares = 0;
      for (let i = t * n; i < (t + 1) * n; i++) squares += x[i] * x[i];
      const perUnit = Math.sqrt(squares) / this.#norm;
      for (let r = 0; r < rows; r++) {
        const u = y[t * rows + r];
        y[t * rows + r] = tensors.scales[r] * (u + freshNoise[r] * this.#gaussian() * perUnit);
      }
    }
  }

  #nextKey(group: Group): void {
    for (let i = 0; i < group.weights.length; i++) {
      group.encrypted[i] = group.weights[i] + this.#weightNoise * this.#gaussian();
    }
    group.left = this.#vectorsPerKey;
  }
}

interface Product {
  /** Rows of n entries, each so many apart, the first of them from here. */
  readonly a: Float32Array | Float64Array;
  readonly aStride: number;
  readonly aFirst: number;
  readonly aRows: number;
  /** Rows of n entries. */
  readonly b: Float64Array;
  readonly n: number;
  /** (rows of a, rows of b) */
  readonly out: Float64Array;
}

/** a·bᵀ; an entry of b is read once for four rows of a. */
function multiply({ a, aStride, aFirst, aRows, b, n, out }: Product): void {
  const bRows = out.length / aRows;
  // Columns of four rows beside each other.
  const four = new Float64Array(4 * n);
  for (let t = 0; t < aRows; t += 4) {
    const count = Math.min(4, aRows - t);
    if (count < 4) four.fill(0);
    for (let k = 0; k < count; k++) {
      const from = (t + k) * aStride + aFirst;
      for (let i = 0; i < n; i++) four[4 * i + k] = a[from + i];
    }
    for (let r = 0; r < bRows; r++) {
      let [s0, s1, s2, s3] = [0, 0, 0, 0];
      const from = r * n;
      for (let i = 0; i < n; i++) {
        const value = b[from + i];
        s0 += value * four[4 * i];
        s1 += value * four[4 * i + 1];
        s2 += value * four[4 * i + 2];
        s3 += value * four[4 * i + 3];
      }
      const to = t * bRows + r;
      out[to] = s0;
      if (count > 1) out[to + bRows] = s1;
      if (count > 2) out[to + 2 * bRows] = s2;
      if (count > 3) out[to + 3 * bRows] = s3;
    }
  }
}
