/** The tensors of one forward pass, on their way through the segments. */

import type { Tensor, TensorSession } from "../../base/platform.ts";
import type { DeltaSource } from "../delta-source.ts";
import { type KvCache, newRowsName } from "../kv-cache.ts";
import { joinDeltas, type LinearPlace, partsOf } from "../graph/linear-place.ts";
import type { AheadName, AheadPair, LoadedPair } from "./look-ahead.ts";
import type { Segment } from "../graph/segment-builder.ts";

/** Names of the tensors that every pass is given, and of the one that it is for. */
export const IDS = "ids";
export const PAST = "past";
export const TOTAL = "total";
export const FIRST_ROW = "first_row";
export const LOGITS = "logits";

/** A value's number: a decode step moves hundreds of values, and names would cost more than the moves. */
export type Slot = number;

interface SlotOf {
  readonly name: string;
  readonly slot: Slot;
}

/** What happens after a segment has run: a group's deltas, or a pair's, are asked for, or waited for. */
export type LoadedStep = GroupStep | PairStep;

export interface GroupStep {
  readonly kind: "begin" | "wait";
  readonly group: number;
  /** begin: x; wait: where the deltas go. */
  readonly slot: Slot;
}

export interface PairStep {
  readonly kind: "ask-ahead" | "take-ahead";
  readonly pair: AheadPair;
  readonly slots: Readonly<Record<AheadName, Slot>>;
}

/** A segment whose session is loaded. */
export interface LoadedSegment {
  readonly session: TensorSession;
  readonly inputs: readonly SlotOf[];
  readonly outputs: readonly SlotOf[];
  /** Outputs that belong into the cache. */
  readonly newRows: readonly { readonly layer: number; readonly slot: Slot }[];
  readonly steps: readonly LoadedStep[];
  /** Values that nothing after this segment reads. */
  readonly release: readonly Slot[];
}

/** A model in segments. */
export interface LoadedModel {
  readonly segments: readonly LoadedSegment[];
  readonly slotOf: ReadonlyMap<string, Slot>;
  readonly deltas: DeltaSource | undefined;
  /** By group of the DeltaSource. */
  readonly places: readonly LinearPlace[];
  /** By group of the DeltaSource: the pair that it is the second of. */
  readonly pairs: ReadonlyMap<number, LoadedPair>;
}

/** Numbers the values of a chain of segments. */
export function numberValues(
  segments: readonly Segment[],
  layers: number,
): { readonly slotOf: Map<string, Slot>; readonly numbered: readonly Omit<LoadedSegment, "session">[] } {
  const slotOf = new Map<string, Slot>();
  const number = (name: string): Slot => {
    if (!slotOf.has(name)) slotOf.set(name, slotOf.size);
    return slotOf.get(name)!;
  };
  const layerOf = new Map(Array.from({ length: layers }, (_, layer) => [newRowsName(layer), layer]));
  const lastRead = new Map<Slot, number>([[number(LOGITS), segments.length]]);
  const numbered = segments.map(({ graph, steps }, index) => {
    const slots = (values: readonly { readonly name: string }[]): SlotOf[] =>
      values.map(({ name }) => ({ name, slot: number(name) }));
    const inputs = slots(graph.inputs);
    for (const { slot } of inputs) lastRead.set(slot, index);
    return {
      inputs,
      outputs: slots(graph.outputs),
      newRows: graph.outputs.flatMap(({ name }) => {
        const layer = layerOf.get(name);
        return layer === undefined ? [] : { layer, slot: number(name) };
      }),
      steps: steps.map((step): LoadedStep => {
        if ("group" in step) return { kind: step.kind, group: step.group, slot: number(step.value) };
        const slots = Object.entries(step.pair.names).map(([key, name]) => [key, number(name)]);
        return { ...step, slots: Object.fromEntries(slots) as Record<AheadName, Slot> };
      }),
    };
  });
  return {
    slotOf,
    numbered: numbered.map((segment, index) => ({
      ...segment,
      release: [...segment.inputs, ...segment.outputs]
        .map(({ slot }) => slot)
        .filter((slot) => (lastRead.get(slot) ?? -1) <= index),
    })),
  };
}

/** Which tokens to read, and which rows of logits to make. */
export interface PassInput {
  readonly ids: readonly number[];
  /** First row to make logits for; -1 is the last row only. */
  readonly firstRow: number;
}

/** A value that is given to a segment. */
interface GivenTensor extends Tensor {
  readonly data: Float32Array;
  /** Of deltas, in a decode step: the part of `data` of each of the group's modules. */
  readonly parts?: readonly Float32Array[] | undefined;
}

/** Memory for what decode steps give to segments, by slot: made once and used by one pass after the other. */
export type GivenMemory = Map<Slot, GivenTensor>;

export class SegmentPass {
  readonly tokens: number;
  readonly #model: LoadedModel;
  readonly #cache: KvCache;
  readonly #memory: GivenMemory;
  /** By slot. */
  readonly #values: (Tensor | undefined)[];

  /** @param memory of this cache */
  constructor(model: LoadedModel, cache: KvCache, memory: GivenMemory, { ids, firstRow }: PassInput) {
    this.#model = model;
    this.#cache = cache;
    this.#memory = memory;
    this.tokens = ids.length;
    this.#values = new Array(model.slotOf.size).fill(undefined);
    const give = (name: string, tensor: Tensor) => {
      const slot = model.slotOf.get(name);
      if (slot !== undefined) this.#values[slot] = tensor;
    };
    for (const [name, tensor] of cache.tensors()) give(name, tensor);
    give(IDS, { type: "int64", dims: [1, ids.length], data: BigInt64Array.from(ids, BigInt) });
    give(PAST, { type: "int32", dims: [1], data: Int32Array.of(cache.length) });
    give(TOTAL, { type: "int32", dims: [1], data: Int32Array.of(cache.length + ids.length) });
    give(FIRST_ROW, { type: "int64", dims: [1], data: BigInt64Array.of(BigInt(firstRow)) });
  }

  async runSegment({ session, inputs, outputs, newRows }: LoadedSegment): Promise<void> {
    const values = this.#values;
    const feeds: Record<string, Tensor> = {};
    for (const { name, slot } of inputs) feeds[name] = values[slot]!;
    const results = await session.run(feeds);
    for (const { name, slot } of outputs) values[slot] = results[name];
    for (const { layer, slot } of newRows) this.#cache.store(layer, this.data(slot));
  }

  /** Lets go of what nothing after the segment reads. */
  release({ release }: LoadedSegment): void {
    for (const slot of release) this.#values[slot] = undefined;
  }

  /** A value that a segment has made. */
  data(slot: Slot): Float32Array {
    return this.#values[slot]!.data as Float32Array;
  }

  logits(): Float32Array {
    return this.data(this.#model.slotOf.get(LOGITS)!);
  }

  /** Memory for a value that is given, (tokens, width) row-major; it holds what an earlier step put there. */
  give(slot: Slot, width: number): Float32Array {
    return this.#given(slot, () => ({
      type: "float32",
      dims: [1, this.tokens, width],
      data: new Float32Array(this.tokens * width),
    })).data;
  }

  /**
   * Has a source's answer written where a segment will read it, (tokens, Σ outFeatures) row-major, zero where nothing
   * is adapted.
   */
  async giveDeltas(
    slot: Slot,
    group: number,
    wait: (targets?: readonly Float32Array[]) => Promise<readonly Float32Array[]>,
  ): Promise<void> {
    const place = this.#model.places[group];
    const { modules } = this.#model.deltas!.groups[group];
    const { data, parts } = this.#given(slot, () => {
      const width = place.outFeatures.reduce((sum, out) => sum + out, 0);
      const data = new Float32Array(this.tokens * width);
      const parts = this.tokens === 1 ? partsOf(place, modules, data) : undefined;
      return { type: "float32", dims: [1, this.tokens, width], data, parts };
    });
    const deltas = await wait(parts);
    if (deltas !== parts) joinDeltas(place, modules, deltas, data);
  }

  /** In a decode step memory that was used before. */
  #given(slot: Slot, make: () => GivenTensor): GivenTensor {
    let tensor = this.tokens === 1 ? this.#memory.get(slot) : undefined;
    if (!tensor) {
      tensor = make();
      if (this.tokens === 1) this.#memory.set(slot, tensor);
    }
    this.#values[slot] = tensor;
    return tensor;
  }
}
