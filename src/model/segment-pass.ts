/** The tensors of one forward pass, on their way through the segments. */

import type { Tensor, TensorSession } from "../base/platform.ts";
import type { DeltaSource } from "./delta-source.ts";
import type { KvCache } from "./kv-cache.ts";
import type { LinearPlace } from "./linear-place.ts";
import type { SegmentStep } from "./segment-builder.ts";

/** Names of the tensors that every pass is given, and of the one that it is for. */
export const IDS = "ids";
export const PAST = "past";
export const TOTAL = "total";
export const FIRST_ROW = "first_row";
export const LOGITS = "logits";

/** A segment whose session is loaded. */
export interface LoadedSegment {
  readonly session: TensorSession;
  readonly inputs: readonly string[];
  /** Outputs that belong into the cache. */
  readonly newRows: readonly { readonly layer: number; readonly name: string }[];
  readonly steps: readonly SegmentStep[];
  /** Values that nothing after this segment reads. */
  readonly release: readonly string[];
}

/** A model in segments. */
export interface LoadedModel {
  readonly segments: readonly LoadedSegment[];
  readonly deltas: DeltaSource | undefined;
  /** By group of the DeltaSource. */
  readonly places: readonly LinearPlace[];
}

/** Which tokens to read, and which rows of logits to make. */
export interface PassInput {
  readonly ids: readonly number[];
  /** First row to make logits for; -1 is the last row only. */
  readonly firstRow: number;
}

/** Every value is a new array, and goes when nothing needs it any more. */
export class SegmentPass {
  readonly tokens: number;
  readonly #model: LoadedModel;
  readonly #cache: KvCache;
  readonly #values: Record<string, Tensor>;

  constructor(model: LoadedModel, cache: KvCache, { ids, firstRow }: PassInput) {
    this.#model = model;
    this.#cache = cache;
    this.tokens = ids.length;
    this.#values = {
      ...cache.tensors(),
      [IDS]: { type: "int64", dims: [1, ids.length], data: BigInt64Array.from(ids, BigInt) },
      [PAST]: { type: "int32", dims: [1], data: Int32Array.of(cache.length) },
      [TOTAL]: { type: "int32", dims: [1], data: Int32Array.of(cache.length + ids.length) },
      [FIRST_ROW]: { type: "int64", dims: [1], data: BigInt64Array.of(BigInt(firstRow)) },
    };
  }

  async runSegment(index: number): Promise<void> {
    const { session, inputs, newRows, release } = this.#model.segments[index];
    const values = this.#values;
    const feeds: Record<string, Tensor> = {};
    for (const name of inputs) feeds[name] = values[name];
    const results = await session.run(feeds);
    for (const name in results) values[name] = results[name];
    for (const { layer, name } of newRows) this.#cache.store(layer, this.data(name));
    // Only where it is much: a decode step is over soon.
    if (this.tokens > 1) for (const name of release) delete values[name];
  }

  /** A value that a segment has made. */
  data(name: string): Float32Array {
    return this.#values[name].data as Float32Array;
  }

  /** Memory for the deltas of a group, (tokens, Σ outFeatures) row-major, zero where nothing is adapted. */
  deltaData({ group, delta }: SegmentStep & { kind: "wait" }): Float32Array {
    const width = this.#model.places[group].outFeatures.reduce((sum, out) => sum + out, 0);
    const data = new Float32Array(this.tokens * width);
    this.#values[delta] = { type: "float32", dims: [1, this.tokens, width], data };
    return data;
  }
}
