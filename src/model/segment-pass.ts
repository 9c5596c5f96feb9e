/** The tensors of one forward pass, on their way through the segments. */

import type { Tensor, TensorSession } from "../base/platform.ts";
import type { DeltaSource } from "./delta-source.ts";
import type { KvCache } from "./kv-cache.ts";
import type { LinearPlace } from "./linear-place.ts";
import type { GraphValue } from "./onnx-graph.ts";
import type { SegmentStep } from "./segment-builder.ts";

/** Names of the tensors that every pass is given, and of the one that it is for. */
export const IDS = "ids";
export const TOTAL = "total";
export const FIRST_ROW = "first_row";
export const LOGITS = "logits";

/** A segment whose session is loaded. */
export interface LoadedSegment {
  readonly session: TensorSession;
  readonly inputs: readonly string[];
  readonly outputs: readonly GraphValue[];
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

export interface SegmentPass {
  readonly tokens: number;
  runSegment(index: number): Promise<void>;
  /** A value that a segment has made. */
  data(name: string): Float32Array;
  /** Memory for the deltas of a group, (tokens, Σ outFeatures) row-major, zero where nothing is adapted. */
  deltaData(step: SegmentStep & { kind: "wait" }): Float32Array;
}

/** Any number of tokens: every value is a new array, and goes when nothing needs it any more. */
export class FreePass implements SegmentPass {
  readonly tokens: number;
  readonly #model: LoadedModel;
  readonly #values: Map<string, Tensor>;
  readonly #present: Readonly<Record<string, Tensor>>;

  constructor(model: LoadedModel, cache: KvCache, { ids, firstRow }: PassInput) {
    this.#model = model;
    this.tokens = ids.length;
    this.#present = cache.presentTensors();
    const given = givenTensors(ids.length);
    fillGiven(given, ids, cache.length, firstRow);
    this.#values = new Map([...Object.entries(given), ...Object.entries(cache.pastTensors())]);
  }

  async runSegment(index: number): Promise<void> {
    const { session, inputs, outputs, release } = this.#model.segments[index];
    const values = this.#values;
    const feeds = Object.fromEntries(inputs.map((name) => [name, values.get(name)!]));
    const into: Record<string, Tensor> = {};
    for (const { name } of outputs) if (name in this.#present) into[name] = this.#present[name];
    const results = await session.run(feeds, into);
    for (const name in results) values.set(name, results[name]);
    for (const name of release) values.delete(name);
  }

  data(name: string): Float32Array {
    return this.#values.get(name)!.data as Float32Array;
  }

  deltaData({ group, delta }: SegmentStep & { kind: "wait" }): Float32Array {
    const tensor = zeros([1, this.tokens, widthOf(this.#model.places[group])]);
    this.#values.set(delta, tensor);
    return tensor.data as Float32Array;
  }
}

/**
 * One token: the memory of all values is made once for a cache and used by every step. A step has tens of short
 * runs; new arrays for each, and collecting them, would cost as much time as the model itself.
 */
export class DecodePass implements SegmentPass {
  readonly tokens = 1;
  /** Of the cache, when this was made: later the cache's memory is elsewhere. */
  readonly capacity: number;
  readonly #given = givenTensors(1);
  readonly #values: Record<string, Tensor>;
  readonly #runs: readonly (() => Promise<void>)[];

  constructor({ segments, places }: LoadedModel, cache: KvCache) {
    this.capacity = cache.capacity;
    const values: Record<string, Tensor> = {
      ...this.#given,
      ...cache.pastTensors(),
      ...cache.presentTensors(),
    };
    for (const { outputs, steps } of segments) {
      // What goes from one segment to another is float32 (1, tokens, width), and so are the logits.
      for (const { name, dims } of outputs) values[name] ??= zeros([1, 1, dims[2] as number]);
      for (const step of steps) {
        if (step.kind === "wait") values[step.delta] = zeros([1, 1, widthOf(places[step.group])]);
      }
    }
    const pick = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, values[name]]));
    this.#runs = segments.map(({ session, inputs, outputs }) =>
      session.bind(pick(inputs), pick(outputs.map(({ name }) => name))),
    );
    this.#values = values;
  }

  /** Makes ready for the next step. */
  start(id: number, past: number): void {
    fillGiven(this.#given, [id], past, -1);
  }

  runSegment(index: number): Promise<void> {
    return this.#runs[index]();
  }

  data(name: string): Float32Array {
    return this.#values[name].data as Float32Array;
  }

  deltaData({ delta }: SegmentStep & { kind: "wait" }): Float32Array {
    return this.data(delta);
  }
}

type GivenTensors = Record<string, Tensor>;

function givenTensors(tokens: number): GivenTensors {
  return {
    [IDS]: { type: "int64", dims: [1, tokens], data: new BigInt64Array(tokens) },
    [TOTAL]: { type: "int32", dims: [1], data: new Int32Array(1) },
    [FIRST_ROW]: { type: "int64", dims: [1], data: new BigInt64Array(1) },
  };
}

function fillGiven(given: GivenTensors, ids: readonly number[], past: number, firstRow: number): void {
  for (let i = 0; i < ids.length; i++) given[IDS].data[i] = BigInt(ids[i]);
  given[TOTAL].data[0] = past + ids.length;
  given[FIRST_ROW].data[0] = BigInt(firstRow);
}

function zeros(dims: readonly number[]): Tensor {
  return { type: "float32", dims, data: new Float32Array(dims.reduce((product, size) => product * size, 1)) };
}

function widthOf({ outFeatures }: LinearPlace): number {
  return outFeatures.reduce((sum, out) => sum + out, 0);
}
