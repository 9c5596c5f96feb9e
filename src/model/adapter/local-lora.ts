/** The plaintext reference: a LoRA applied in this process, nothing encrypted. */

import { assertInteger, assertLength } from "../../base/assert.ts";
import { type BaseChanges, NO_CHANGES } from "../../weights/base-changes.ts";
import type { LoraModule } from "../../weights/lora-adapter.ts";
import type {
  AdaptedGroup,
  DeltaSource,
  GroupInput,
  LowRankSource,
  PendingDelta,
  RoutesTaken,
} from "../delta-source.ts";

interface Module extends LoraModule {
  /** b as columns, (rank, outFeatures) row-major. */
  readonly columns: Float32Array;
}

/** A query whose coefficients A·x are computed once the caller has gone on. */
interface Query {
  readonly group: number;
  readonly tokens: number;
  /** A·x, scaled: (tokens, Σ rank) row-major. */
  readonly hidden: Promise<Float64Array>;
}

/** What a group's coefficients add to another one's deltas: (rank, outFeatures[i]) for each module of that one. */
interface Effects {
  readonly first: number;
  readonly effects: readonly Float32Array[];
}

/** An adapter as `fitAdapter` has it. */
export interface LocalAdapter {
  readonly groups: readonly AdaptedGroup[];
  /** By name. */
  readonly modules: ReadonlyMap<string, LoraModule>;
  /** Default: none. */
  readonly changes?: BaseChanges;
  readonly invocationTokens?: readonly number[] | undefined;
}

/** delta_i = scale · B_i·(A_i·x): float32 in and out, every sum in float64. */
export class LocalLora implements DeltaSource, LowRankSource {
  readonly groups: readonly AdaptedGroup[];
  readonly changes: BaseChanges;
  readonly lowRank: LowRankSource = this;
  readonly invocationTokens: readonly number[] | undefined;
  readonly #modules: readonly (readonly Module[])[];
  /** By second group of a pair. */
  readonly #effects = new Map<number, Effects>();
  /** One delta of one token, before it is rounded. */
  readonly #sums: Float64Array;

  /** @param adapter of `fitAdapter` */
  constructor({ groups, modules: all, changes = NO_CHANGES, invocationTokens }: LocalAdapter) {
    this.groups = groups;
    this.changes = changes;
    this.invocationTokens = invocationTokens;
    this.#modules = groups.map(({ modules }) =>
      modules.map((name) => {
        const module = all.get(name);
        if (!module) throw new RangeError(`the adapter has no module ${name}`);
        return { ...module, columns: transposed(module.b, module.outFeatures, module.rank) };
      }),
    );
    this.#sums = new Float64Array(Math.max(0, ...this.#modules.flat().map(({ outFeatures }) => outFeatures)));
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    const query = this.#query({ group, x }, tokens);
    return pendingOf(query.hidden.then((hidden) => this.#deltas(query, hidden)));
  }

  beginIds(group: number, ids: readonly number[]): PendingDelta {
    assertInteger(group, "group", 0, this.groups.length - 1);
    const tokens = ids.length;
    for (const id of ids) assertInteger(id, "token id", 0, this.groups[group].inFeatures - 1);
    const hidden = Promise.resolve().then(() => columnsAt(this.#modules[group], ids));
    return pendingOf(hidden.then((hidden) => this.#deltas({ group, tokens }, hidden)));
  }

  beginRouted(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta {
    assertInteger(group, "group", 0, this.groups.length - 1);
    assertLength(x, "x", rows * this.groups[group].inFeatures);
    return pendingOf(Promise.resolve().then(() => [this.#routedDeltas(this.#modules[group], x, routes)]));
  }

  beginPair(first: GroupInput, second: GroupInput, tokens: number): readonly [PendingDelta, PendingDelta] {
    const found = this.#effects.get(second.group);
    if (found?.first !== first.group)
      throw new RangeError(`groups ${first.group}, ${second.group} are no pair`);
    const [one, two] = [this.#query(first, tokens), this.#query(second, tokens)];
    const { effects } = found;
    return [
      pendingOf(one.hidden.then((hidden) => this.#deltas(one, hidden))),
      pendingOf(
        Promise.all([two.hidden, one.hidden]).then(([hidden, factors]) =>
          this.#deltas(two, hidden, { effects, factors }),
        ),
      ),
    ];
  }

  rankOf(group: number): number {
    return this.#modules[group].reduce((sum, { rank }) => sum + rank, 0);
  }

  basisOf(group: number): Float32Array {
    const [module, ...others] = this.#modules[group];
    if (others.length > 0) throw new RangeError(`group ${group} has several modules`);
    return module.columns;
  }

  setEffects(first: number, second: number, effects: readonly Float32Array[]): void {
    this.#effects.set(second, { first, effects });
  }

  hasEffects(second: number): boolean {
    return this.#effects.has(second);
  }

  #query({ group, x }: GroupInput, tokens: number): Query {
    assertInteger(group, "group", 0, this.groups.length - 1);
    assertInteger(tokens, "tokens", 0, Number.MAX_SAFE_INTEGER);
    assertLength(x, "x", tokens * this.groups[group].inFeatures);
    // Not before the caller goes on: it may have other work to start first.
    const hidden = Promise.resolve().then(() => project(this.#modules[group], x, tokens));
    return { group, tokens, hidden };
  }

  /** (routes, out) */
  #routedDeltas(modules: readonly Module[], x: Float32Array, { rows, experts }: RoutesTaken): Float32Array {
    const { outFeatures, inFeatures } = modules[0];
    const out = new Float32Array(experts.length * outFeatures);
    const sums = this.#sums.subarray(0, outFeatures);
    for (let route = 0; route < experts.length; route++) {
      const expert = modules[experts[route]];
      const row = x.subarray(rows[route] * inFeatures, (rows[route] + 1) * inFeatures);
      sums.fill(0);
      addColumns(expert.columns, project([expert], row, 1), sums);
      out.set(sums, route * outFeatures);
    }
    return out;
  }

  /** (tokens, out) of each module of the group. */
  #deltas(
    { group, tokens }: Pick<Query, "group" | "tokens">,
    hidden: Float64Array,
    added?: { readonly effects: readonly Float32Array[]; readonly factors: Float64Array },
  ): Float32Array[] {
    const modules = this.#modules[group];
    const width = hidden.length / tokens;
    let offset = 0;
    return modules.map(({ columns, rank, outFeatures }, i) => {
      const out = new Float32Array(tokens * outFeatures);
      const sums = this.#sums.subarray(0, outFeatures);
      for (let token = 0; token < tokens; token++) {
        sums.fill(0);
        const at = token * width + offset;
        addColumns(columns, hidden.subarray(at, at + rank), sums);
        if (added) {
          const { effects, factors } = added;
          const each = factors.length / tokens;
          addColumns(effects[i], factors.subarray(token * each, (token + 1) * each), sums);
        }
        out.set(sums, token * outFeatures);
      }
      offset += rank;
      return out;
    });
  }
}

function pendingOf(deltas: Promise<readonly Float32Array[]>): PendingDelta {
  deltas.catch(() => {}); // wait() reports it
  return {
    async wait(targets) {
      const made = await deltas;
      if (!targets) return made;
      for (const [i, delta] of made.entries()) targets[i].set(delta);
      return targets;
    },
  };
}

/** hidden_t = scale·A·x_t of the modules, beside each other. */
function project(modules: readonly Module[], x: Float32Array, tokens: number): Float64Array {
  const hidden = new Float64Array(tokens * modules.reduce((sum, { rank }) => sum + rank, 0));
  let next = 0;
  for (let token = 0; token < tokens; token++) {
    for (const { a, rank, inFeatures, scale } of modules) {
      const input = x.subarray(token * inFeatures, (token + 1) * inFeatures);
      for (let row = 0; row < rank; row++) {
        hidden[next++] = scale * dot(a, row * inFeatures, input, inFeatures);
      }
    }
  }
  return hidden;
}

/** hidden_t = scale·A[:, ids_t] of the modules, beside each other: `project` of one-hots. */
function columnsAt(modules: readonly Module[], ids: readonly number[]): Float64Array {
  const hidden = new Float64Array(ids.length * modules.reduce((sum, { rank }) => sum + rank, 0));
  let next = 0;
  for (const id of ids) {
    for (const { a, rank, inFeatures, scale } of modules) {
      for (let row = 0; row < rank; row++) hidden[next++] = scale * a[row * inFeatures + id];
    }
  }
  return hidden;
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
