/** The tensors of one forward pass, on their way through the segments. */

import type { Tensor } from "../../base/platform.ts";
import { joinDeltas, partsOf } from "../graph/linear-place.ts";
import { isLoraName } from "../graph/lora-inputs.ts";
import { FIRST_ROW, IDS, LOGITS, PAST, TABLE_START, TOTAL } from "../graph/pass-values.ts";
import type { KvCache } from "../kv-cache.ts";
import type { LoadedModel, LoadedSegment, Slot } from "./loaded-model.ts";

/** Which tokens to read, and which rows of logits to make. */
export interface PassInput {
  readonly ids: readonly number[];
  /** First row to make logits for; -1 is the last row only. */
  readonly firstRow: number;
  /** Tokens behind those of the cache that earlier parts of the same input have. Default: 0. */
  readonly offset?: number;
  /** Of a part: whether only its rows in the cache are wanted. Default: its logits too. */
  readonly isContext?: boolean;
}

/** A value that is given to a segment. */
interface GivenTensor extends Tensor {
  readonly data: Float32Array;
  /** Of deltas, in a decode step: the part of `data` of each of the group's modules. */
  parts?: readonly Float32Array[];
}

/**
 * Memory for what passes give to segments. What several tokens take is used again as soon as a segment has read it:
 * new arrays of hundreds of megabytes for a prompt would make V8 collect garbage all the time.
 */
export interface GivenMemory {
  /** Of decode steps, by slot: made once and used by one pass after the other. */
  readonly ofStep: Map<Slot, GivenTensor>;
  /** Arrays that nobody reads any more, by length. */
  readonly free: Map<number, Float32Array[]>;
}

export class SegmentPass {
  readonly ids: readonly number[];
  readonly tokens: number;
  /** Rows of the logits that are asked for. */
  readonly #logitRows: number;
  /** Position of the first one. */
  readonly #past: number;
  readonly #model: LoadedModel;
  readonly #cache: KvCache;
  readonly #memory: GivenMemory;
  /** By slot. */
  readonly #values: (Tensor | undefined)[];
  /** Slots whose arrays are `free` when they are released. */
  readonly #lent = new Set<Slot>();
  /** Slots of the cache's tensors that lie on a device: they are not ours to free. */
  readonly #cached = new Set<Slot>();

  /** @param memory whose `ofStep` belongs to this cache */
  constructor(
    model: LoadedModel,
    cache: KvCache,
    memory: GivenMemory,
    { ids, firstRow, offset = 0 }: PassInput,
  ) {
    this.#model = model;
    this.#cache = cache;
    this.#memory = memory;
    this.ids = ids;
    this.tokens = ids.length;
    this.#logitRows = firstRow < 0 ? -firstRow : ids.length - firstRow;
    this.#past = cache.length + offset;
    this.#values = new Array(model.slotOf.size).fill(undefined);
    const give = (name: string, tensor: Tensor): Slot | undefined => {
      const slot = model.slotOf.get(name);
      if (slot !== undefined) this.#values[slot] = tensor;
      return slot;
    };
    for (const [name, tensor] of cache.tensors()) {
      const slot = give(name, tensor);
      if (cache.shape.isOnDevice && slot !== undefined) this.#cached.add(slot);
    }
    for (const [name, tensor] of model.loras) give(name, tensor);
    give(IDS, { type: "int64", dims: [1, ids.length], data: BigInt64Array.from(ids, BigInt) });
    give(PAST, { type: "int32", dims: [1], data: Int32Array.of(this.#past) });
    give(TOTAL, { type: "int32", dims: [1], data: Int32Array.of(this.#past + ids.length) });
    give(TABLE_START, { type: "int32", dims: [1], data: Int32Array.of(cache.tableStart) });
    give(FIRST_ROW, { type: "int64", dims: [1], data: BigInt64Array.of(BigInt(firstRow)) });
  }

  /** What a segment reads of it. */
  feedsOf({ inputs, pastStates }: LoadedSegment): Record<string, Tensor> {
    const values = this.#values;
    for (const { name, slot } of pastStates) values[slot] = this.#cache.stateOf(name);
    const feeds: Record<string, Tensor> = {};
    for (const { name, slot } of inputs) {
      // An earlier part of the prompt, or an earlier layer, may have put another one there.
      const kept = this.#cached.has(slot) ? this.#cache.keptOf(name) : undefined;
      feeds[name] = kept ?? values[slot]!;
    }
    return feeds;
  }

  /** Whether a segment that makes rows of rows is given the same by both otherwise. */
  isGivenAs(other: SegmentPass, { inputs }: LoadedSegment): boolean {
    return inputs.every(({ name, slot }) => !isLoraName(name) || this.#values[slot] === other.#values[slot]);
  }

  /** Takes what a segment has made of it. */
  take(
    { outputs, newRows, presents, newStates }: LoadedSegment,
    results: Readonly<Record<string, Tensor>>,
  ): void {
    for (const { name, slot } of outputs) this.#values[slot] = results[name];
    for (const { layer, slot } of newRows) this.#cache.store(layer, this.data(slot), this.#past);
    for (const { past, slot } of presents) {
      this.#cache.keep(past, this.#values[slot]!);
      this.#values[slot] = undefined;
    }
    for (const { name, slot } of newStates) this.#cache.storeState(name, this.data(slot));
  }

  /** Lets go of what nothing after the segment reads. */
  release({ release }: LoadedSegment): void {
    for (const slot of release) {
      if (this.#lent.delete(slot)) this.#takeBack(this.data(slot));
      if (!this.#cached.has(slot)) this.#values[slot]?.free?.();
      this.#values[slot] = undefined;
    }
  }

  /** Lets go of everything: the pass is over, or has failed. */
  end(): void {
    for (const [slot, value] of this.#values.entries()) if (!this.#cached.has(slot)) value?.free?.();
    this.#values.fill(undefined);
  }

  /** A value that a segment has made. */
  data(slot: Slot): Float32Array {
    return this.#values[slot]!.data as Float32Array;
  }

  integers(slot: Slot): number[] {
    return Array.from(this.#values[slot]!.data as BigInt64Array, Number);
  }

  logits(): Float32Array {
    return this.data(this.#model.slotOf.get(LOGITS)!);
  }

  /** Memory for a value that is given, (tokens, width) row-major; it holds what an earlier step or segment put there. */
  give(slot: Slot, width: number): Float32Array {
    return this.#given(slot, this.tokens, width).data;
  }

  /**
   * Has a source's answer written where a segment will read it, (tokens, Σ outFeatures) row-major, zero where nothing
   * is adapted. At the head tokens are those whose logits are asked for.
   */
  async giveDeltas(
    slot: Slot,
    group: number,
    wait: (targets?: readonly Float32Array[]) => Promise<readonly Float32Array[]>,
  ): Promise<void> {
    const place = this.#model.places[group];
    const { modules } = this.#model.deltas!.groups[group];
    if (place.isRouted) {
      const [data] = await wait();
      const [width] = place.outFeatures;
      this.#values[slot] = { type: "float32", dims: [1, data.length / width, width], data };
      return;
    }
    const tokens = place.isHead ? this.#logitRows : this.tokens;
    const width = place.outFeatures.reduce((sum, out) => sum + out, 0);
    const given = this.#given(slot, tokens, width);
    const { data } = given;
    // An array may have held something else, and nobody writes to the columns of modules that are not adapted.
    if (this.#lent.has(slot) && modules.length < place.modules.length) data.fill(0);
    if (tokens === 1) given.parts ??= partsOf(place, modules, data);
    const deltas = await wait(given.parts);
    if (deltas !== given.parts) joinDeltas(place, modules, deltas, data);
  }

  /** (tokens, width) for a slot: in a decode step memory that was used before, else what is free. */
  #given(slot: Slot, tokens: number, width: number): GivenTensor {
    const { ofStep, free } = this.#memory;
    const make = (data: Float32Array): GivenTensor => ({ type: "float32", dims: [1, tokens, width], data });
    let tensor = this.tokens === 1 ? ofStep.get(slot) : undefined;
    if (!tensor && this.tokens === 1) ofStep.set(slot, (tensor = make(new Float32Array(tokens * width))));
    if (!tensor) {
      tensor = make(free.get(tokens * width)?.pop() ?? new Float32Array(tokens * width));
      this.#lent.add(slot);
    }
    this.#values[slot] = tensor;
    return tensor;
  }

  #takeBack(data: Float32Array): void {
    const { free } = this.#memory;
    const same = free.get(data.length);
    if (same) same.push(data);
    else free.set(data.length, [data]);
  }
}
