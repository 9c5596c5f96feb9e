/** A {@link DeltaSource} that keeps what passes: the pairs (x, deltas) that any client has. */
import type { DeltaSource, PendingDelta, RoutesTaken } from "../model/delta-source.ts";

export class Recorder implements DeltaSource {
  readonly groups: DeltaSource["groups"];
  readonly changes: DeltaSource["changes"];
  readonly #inner: DeltaSource;
  readonly #kept = new Map<
    number,
    { x: Float32Array[]; deltas: (readonly Float32Array[])[]; tokens: number[] }
  >();

  /** @param groups those that are kept */
  constructor(inner: DeltaSource, groups: readonly number[]) {
    this.groups = inner.groups;
    this.changes = inner.changes;
    this.#inner = inner;
    for (const group of groups) this.#kept.set(group, { x: [], deltas: [], tokens: [] });
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    const pending = this.#inner.begin(group, x, tokens);
    return this.#keep(group, tokens, pending, () => x.slice(0, tokens * this.groups[group].inFeatures));
  }

  beginIds(group: number, ids: readonly number[]): PendingDelta {
    const { inFeatures } = this.groups[group];
    return this.#keep(group, ids.length, this.#inner.beginIds!(group, ids), () => {
      const x = new Float32Array(ids.length * inFeatures);
      for (const [t, id] of ids.entries()) x[t * inFeatures + id] = 1;
      return x;
    });
  }

  /** Experts are not recorded: which of their rows were used is not in what they are asked. */
  beginRouted(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta {
    return this.#inner.beginRouted!(group, x, rows, routes);
  }

  #keep(group: number, tokens: number, pending: PendingDelta, copyOfX: () => Float32Array): PendingDelta {
    const kept = this.#kept.get(group);
    if (kept === undefined) return pending;
    const copy = copyOfX();
    return {
      asked: pending.asked,
      ...(pending.drop && { drop: pending.drop }),
      wait: async (targets) => {
        const deltas = await pending.wait(targets);
        kept.x.push(copy);
        kept.deltas.push(deltas.map((delta) => delta.slice()));
        kept.tokens.push(tokens);
        return deltas;
      },
    };
  }

  /** All inputs of a group: (tokens, n), and each module's deltas: (tokens, outFeatures). */
  recorded(group: number): { x: Float32Array; deltas: Float32Array[]; tokens: number } {
    const kept = this.#kept.get(group);
    if (kept === undefined) throw new RangeError("this group is not recorded");
    return {
      x: join(kept.x),
      deltas: this.groups[group].modules.map((_, i) => join(kept.deltas.map((delta) => delta[i]))),
      tokens: kept.tokens.reduce((sum, count) => sum + count, 0),
    };
  }
}

function join(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** y = B′ᵀ·delta for each module, its rows beside each other: (tokens, R). */
export function rowsOfDeltas(
  bases: readonly Float32Array[],
  modules: readonly { readonly outFeatures: number; readonly rows: number }[],
  deltas: readonly Float32Array[],
  tokens: number,
): Float32Array {
  const total = modules.reduce((sum, { rows }) => sum + rows, 0);
  const y = new Float32Array(tokens * total);
  let first = 0;
  for (const [i, { outFeatures, rows }] of modules.entries()) {
    for (let t = 0; t < tokens; t++) {
      for (let r = 0; r < rows; r++) {
        let sum = 0;
        for (let o = 0; o < outFeatures; o++) sum += bases[i][o * rows + r] * deltas[i][t * outFeatures + o];
        y[t * total + first + r] = sum;
      }
    }
    first += rows;
  }
  return y;
}
