/** What some layers keep of all tokens together. No token can be taken out of it: only an earlier state is taken back. */

import type { Tensor } from "../base/platform.ts";
import { type CacheShape, newStateName, pastStateName } from "./graph/pass-values.ts";

/** A state tensor is replaced by the next one, and never changed. */
type StateTensor = Tensor & { readonly data: Float32Array };

interface Mark {
  /** Tokens that were read. */
  readonly length: number;
  readonly states: ReadonlyMap<string, StateTensor>;
}

/** Earlier states that are kept: the latest ones. Each takes as much memory as the states of all layers. */
const MARKS = 3;

/** Most bytes that a cache's states take: those of now, the first ones, and the marks. */
export function mostStateBytes({ layers }: Pick<CacheShape, "layers">): number {
  const sizes = layers.flatMap((kept) => (kept && "states" in kept ? kept.states : []));
  const entries = sizes.reduce((sum, dims) => sum + dims.reduce((product, axis) => product * axis, 1), 0);
  return 4 * entries * (MARKS + 2);
}

export class LayerStates {
  /** By name of the graph's input. */
  #now: ReadonlyMap<string, StateTensor>;
  readonly #start: ReadonlyMap<string, StateTensor>;
  /** Of the pass that is running. */
  readonly #next = new Map<string, StateTensor>();
  /** The first one is the oldest. */
  #marks: readonly Mark[] = [];
  readonly #inputOf = new Map<string, string>();

  constructor({ layers }: Pick<CacheShape, "layers">) {
    const start = new Map<string, StateTensor>();
    for (const [layer, kept] of layers.entries()) {
      if (!kept || !("states" in kept)) continue;
      for (const [index, dims] of kept.states.entries()) {
        const size = dims.reduce((product, axis) => product * axis, 1);
        start.set(pastStateName(layer, index), { type: "float32", dims, data: new Float32Array(size) });
        this.#inputOf.set(newStateName(layer, index), pastStateName(layer, index));
      }
    }
    this.#start = start;
    this.#now = start;
  }

  /** The inputs of a pass, by name. */
  tensors(): Iterable<[name: string, tensor: Tensor]> {
    return this.#now;
  }

  /**
   * A state, by the name of the graph's input. What the running pass has stored is newer: of a
   * prompt in parts, each part goes on from what the one before has made of the layer.
   */
  current(name: string): StateTensor | undefined {
    return this.#next.get(name) ?? this.#now.get(name);
  }

  /** Takes an output of a pass, by its name. It counts after `commit`. */
  store(name: string, data: Float32Array): void {
    const input = this.#inputOf.get(name)!;
    const { type, dims } = this.#start.get(input)!;
    this.#next.set(input, { type, dims, data });
  }

  commit(): void {
    this.#now = new Map(this.#next);
    this.#next.clear();
  }

  /** Keeps the state of now, at `length` tokens, to come back to. */
  mark(length: number): void {
    if (this.#start.size === 0 || length === 0) return;
    const others = this.#marks.filter((mark) => mark.length !== length);
    this.#marks = [...others, { length, states: this.#now }].slice(-MARKS);
  }

  /** The most tokens up to `wanted` that can be come back to from `length`. */
  reachable(wanted: number, length: number): number {
    if (this.#start.size === 0 || wanted === length) return wanted;
    return Math.max(0, ...this.#marks.map((mark) => mark.length).filter((at) => at <= wanted));
  }

  /** @param from how many tokens the state of now has read; `to` is reachable from there */
  goBack(to: number, from: number): void {
    if (this.#start.size === 0) return;
    this.#next.clear();
    if (to === from) return;
    this.#now = this.#marks.find(({ length }) => length === to)?.states ?? this.#start;
    this.#marks = this.#marks.filter(({ length }) => length <= to);
  }

  /** Begins with another one's states; none of them is ever changed. */
  take(other: LayerStates): void {
    this.#now = other.#now;
    this.#marks = other.#marks;
  }

  get bytes(): number {
    const held = new Set([this.#now, this.#start, ...this.#marks.map(({ states }) => states)]);
    let bytes = 0;
    for (const states of held) for (const { data } of states.values()) bytes += data.byteLength;
    return bytes;
  }
}
