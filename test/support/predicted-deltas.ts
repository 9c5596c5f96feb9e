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
    const { inFeatures, outFeatures } = this.groups[index];
    const group = this.#groups[index];
    const deltas = outFeatures.map((out) => new Float32Array(tokens * out));
    for (let t = 0; t < tokens; t++) {
      const y = this.#rows(group, x.subarray(t * inFeatures, (t + 1) * inFeatures));
      let offset = 0;
      for (const [i, rank] of group.ranks.entries()) {
        const basis = group.tensors.bases[i];
        const out = outFeatures[i];
        for (let o = 0; o < out; o++) {
          let sum = 0;
          for (let k = 0; k < rank; k++) sum += basis[o * rank + k] * y[offset + k];
          deltas[i][t * out + o] = sum;
        }
        offset += rank;
      }
    }
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

  /** y = scale·(W·x + noise of u / c), c = ‖c·x‖/‖x‖. */
  #rows(group: Group, x: Float32Array): Float64Array {
    if (group.left === 0) this.#nextKey(group);
    group.left--;
    const n = x.length;
    let squares = 0;
    for (let i = 0; i < n; i++) squares += x[i] * x[i];
    const perUnit = Math.sqrt(squares) / this.#norm;
    return Float64Array.from(group.freshNoise, (stddev, r) => {
      const u = dot(group.encrypted, r * n, x);
      return group.tensors.scales[r] * (u + stddev * this.#gaussian() * perUnit);
    });
  }

  #nextKey(group: Group): void {
    for (let i = 0; i < group.weights.length; i++) {
      group.encrypted[i] = group.weights[i] + this.#weightNoise * this.#gaussian();
    }
    group.left = this.#vectorsPerKey;
  }
}

/** Σ matrix[at + i]·vector[i]; four sums, so that additions do not wait for each other. */
function dot(matrix: Float64Array, at: number, vector: Float32Array): number {
  const n = vector.length;
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += matrix[at + i] * vector[i];
    s1 += matrix[at + i + 1] * vector[i + 1];
    s2 += matrix[at + i + 2] * vector[i + 2];
    s3 += matrix[at + i + 3] * vector[i + 3];
  }
  for (; i < n; i++) s0 += matrix[at + i] * vector[i];
  return s0 + s1 + (s2 + s3);
}
