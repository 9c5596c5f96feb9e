/** The plaintext reference: a LoRA applied in this process, nothing encrypted. */

import { assertInteger, assertLength } from "../base/assert.ts";
import type { LoraAdapter, LoraModule } from "../weights/lora-adapter.ts";
import type { AdaptedGroup, DeltaSource, PendingDelta } from "./delta-source.ts";

/** delta_i = scale · B_i·(A_i·x): float32 in and out, every sum in float64. */
export class LocalLora implements DeltaSource {
  readonly groups: readonly AdaptedGroup[];
  readonly #modules: readonly (readonly LoraModule[])[];
  /** A·x of one token, scaled. */
  readonly #hidden: Float64Array;

  /** @param groups of `groupAdaptedModules(adapter.modules.values(), …)` */
  constructor(adapter: LoraAdapter, groups: readonly AdaptedGroup[]) {
    this.groups = groups;
    this.#modules = groups.map(({ modules }) =>
      modules.map((name) => {
        const module = adapter.modules.get(name);
        if (!module) throw new RangeError(`the adapter has no module ${name}`);
        return module;
      }),
    );
    this.#hidden = new Float64Array(Math.max(0, ...this.#modules.flat().map(({ rank }) => rank)));
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    assertInteger(group, "group", 0, this.groups.length - 1);
    assertInteger(tokens, "tokens", 0, Number.MAX_SAFE_INTEGER);
    assertLength(x, "x", tokens * this.groups[group].inFeatures);
    // Not before the caller goes on: it may have work of its own to start first.
    const deltas = Promise.resolve().then(() =>
      this.#modules[group].map((module) => this.#delta(module, x, tokens)),
    );
    return {
      async wait(targets) {
        const made = await deltas;
        if (!targets) return made;
        for (const [i, delta] of made.entries()) targets[i].set(delta);
        return targets;
      },
    };
  }

  /** (tokens, out) */
  #delta(
    { a, b, rank, inFeatures, outFeatures, scale }: LoraModule,
    x: Float32Array,
    tokens: number,
  ): Float32Array {
    const out = new Float32Array(tokens * outFeatures);
    const hidden = this.#hidden;
    for (let token = 0; token < tokens; token++) {
      const input = x.subarray(token * inFeatures, (token + 1) * inFeatures);
      for (let row = 0, at = 0; row < rank; row++, at += inFeatures) {
        hidden[row] = scale * dot(a, at, input, inFeatures);
      }
      for (let row = 0, at = 0; row < outFeatures; row++, at += rank) {
        out[token * outFeatures + row] = dot(b, at, hidden, rank);
      }
    }
    return out;
  }
}

/** Σ matrix[at + i]·vector[i], i < length, in float64; four sums, so that additions do not wait for each other. */
function dot(matrix: Float32Array, at: number, vector: Float32Array | Float64Array, length: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    s0 += matrix[at + i] * vector[i];
    s1 += matrix[at + i + 1] * vector[i + 1];
    s2 += matrix[at + i + 2] * vector[i + 2];
    s3 += matrix[at + i + 3] * vector[i + 3];
  }
  for (; i < length; i++) s0 += matrix[at + i] * vector[i];
  return s0 + s1 + (s2 + s3);
}
