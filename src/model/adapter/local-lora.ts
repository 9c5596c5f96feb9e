/** The plaintext reference: a LoRA applied in this process, nothing encrypted. */

import { assertInteger, assertLength } from "../../base/assert.ts";
import type { LoraAdapter, LoraModule } from "../../weights/lora-adapter.ts";
import type { AdaptedGroup, DeltaSource, LowRankSource, PendingDelta } from "../delta-source.ts";

interface Module extends LoraModule {
  /** b as columns, (rank, outFeatures) row-major. */
  readonly columns: Float32Array;
}

/** What a query asked, kept until nobody can want its coefficients. */
interface Asked extends PendingDelta {
  readonly group: number;
  /** A·x, scaled: (tokens, Σ rank) row-major. */
  readonly hidden: Float64Array;
}

/** Effects of a group's coefficients on another one: (rank, outFeatures[i]) for each module of that one. */
interface Coupling {
  readonly first: number;
  readonly effects: readonly Float32Array[];
}

/** delta_i = scale · B_i·(A_i·x): float32 in and out, every sum in float64. */
export class LocalLora implements DeltaSource, LowRankSource {
  readonly groups: readonly AdaptedGroup[];
  readonly lowRank: LowRankSource = this;
  readonly #modules: readonly (readonly Module[])[];
  readonly #couplings = new Map<number, Coupling>();
  /** One delta of one token, before it is rounded. */
  readonly #sums: Float64Array;

  /** @param groups of `groupAdaptedModules(adapter.modules.values(), …)` */
  constructor(adapter: LoraAdapter, groups: readonly AdaptedGroup[]) {
    this.groups = groups;
    this.#modules = groups.map(({ modules }) =>
      modules.map((name) => {
        const module = adapter.modules.get(name);
        if (!module) throw new RangeError(`the adapter has no module ${name}`);
        return { ...module, columns: transposed(module.b, module.outFeatures, module.rank) };
      }),
    );
    this.#sums = new Float64Array(Math.max(0, ...this.#modules.flat().map(({ outFeatures }) => outFeatures)));
  }

  begin(group: number, x: Float32Array, tokens: number, after?: PendingDelta): PendingDelta {
    assertInteger(group, "group", 0, this.groups.length - 1);
    assertInteger(tokens, "tokens", 0, Number.MAX_SAFE_INTEGER);
    assertLength(x, "x", tokens * this.groups[group].inFeatures);
    const modules = this.#modules[group];
    const rank = modules.reduce((sum, module) => sum + module.rank, 0);
    const asked: Asked = {
      group,
      hidden: new Float64Array(tokens * rank),
      wait: async (targets) => {
        const made = await deltas;
        if (!targets) return made;
        for (const [i, delta] of made.entries()) targets[i].set(delta);
        return targets;
      },
    };
    // Not before the caller goes on: it may have work of its own to start first.
    const deltas = Promise.resolve().then(() => {
      project(modules, x, tokens, asked.hidden);
      return Array.from(modules.keys(), (i) => this.#delta(asked, i, tokens, after as Asked | undefined));
    });
    return asked;
  }

  basisOf(group: number): Float32Array {
    const [module, ...others] = this.#modules[group];
    if (others.length > 0) throw new RangeError(`group ${group} has several modules`);
    return module.columns;
  }

  couple(first: number, second: number, effects: readonly Float32Array[]): void {
    this.#couplings.set(second, { first, effects });
  }

  isCoupled(second: number): boolean {
    return this.#couplings.has(second);
  }

  /** (tokens, out) of the group's i-th module. */
  #delta({ group, hidden }: Asked, i: number, tokens: number, after: Asked | undefined): Float32Array {
    const modules = this.#modules[group];
    const { columns, rank, outFeatures } = modules[i];
    const coupling = after && this.#couplings.get(group);
    if (after && coupling?.first !== after.group)
      throw new RangeError(`group ${group} is not coupled to that`);
    const width = hidden.length / tokens;
    const offset = modules.slice(0, i).reduce((sum, module) => sum + module.rank, 0);
    const out = new Float32Array(tokens * outFeatures);
    const sums = this.#sums.subarray(0, outFeatures);
    for (let token = 0; token < tokens; token++) {
      sums.fill(0);
      const at = token * width + offset;
      addColumns(columns, hidden.subarray(at, at + rank), sums);
      if (after) addColumns(coupling!.effects[i], after.hidden, sums);
      out.set(sums, token * outFeatures);
    }
    return out;
  }
}

/** hidden_t = scale·A·x_t of the modules, beside each other. */
function project(modules: readonly Module[], x: Float32Array, tokens: number, hidden: Float64Array): void {
  let next = 0;
  for (let token = 0; token < tokens; token++) {
    for (const { a, rank, inFeatures, scale } of modules) {
      const input = x.subarray(token * inFeatures, (token + 1) * inFeatures);
      for (let row = 0; row < rank; row++) {
        hidden[next++] = scale * dot(a, row * inFeatures, input, inFeatures);
      }
    }
  }
}

/** sums += Σ_k factors_k·columns_k: columns (factors.length, sums.length) row-major; four at a time. */
function addColumns(columns: Float32Array, factors: Float64Array, sums: Float64Array): void {
  const length = sums.length;
  let k = 0;
  for (; k + 4 <= factors.length; k += 4) {
    const [f0, f1, f2, f3] = [factors[k], factors[k + 1], factors[k + 2], factors[k + 3]];
    const c0 = k * length;
    const [c1, c2, c3] = [c0 + length, c0 + 2 * length, c0 + 3 * length];
    for (let i = 0; i < length; i++) {
      sums[i] += f0 * columns[c0 + i] + f1 * columns[c1 + i] + (f2 * columns[c2 + i] + f3 * columns[c3 + i]);
    }
  }
  for (; k < factors.length; k++) {
    for (let i = 0, at = k * length; i < length; i++) sums[i] += factors[k] * columns[at + i];
  }
}

/** (rows, columns) → (columns, rows) */
function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < columns; k++) out[k * rows + i] = matrix[i * columns + k];
  }
  return out;
}

/** Σ matrix[at + i]·vector[i], i < length, in float64; four sums, so that additions do not wait for each other. */
function dot(matrix: Float32Array, at: number, vector: Float32Array, length: number): number {
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
