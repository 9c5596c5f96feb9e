/** Runs a chain of segments: ONNX sessions with a DeltaSource between them. */

import { TacetError } from "../base/errors.ts";
import type { Tensor, TensorRuntime, TensorSession } from "../base/platform.ts";
import type { DeltaSource, PendingDelta } from "./delta-source.ts";
import { joinDeltas, type LinearPlace } from "./linear-place.ts";
import type { Segment, SegmentStep } from "./segment-builder.ts";

/** Where the time of forward passes went, in milliseconds; sums since the model was loaded. */
export interface ForwardTimings {
  forwards: number;
  sessionRuns: number;
  /** In runs of the base model. */
  modelMs: number;
  /** In DeltaSource.begin: what is done before the answer is on its way. */
  beginMs: number;
  /** In waiting for deltas, their making included where it is done in this process. */
  waitMs: number;
}

interface LoadedSegment {
  readonly session: TensorSession;
  readonly inputs: readonly string[];
  /** Outputs that are written into given memory. */
  readonly inPlace: readonly string[];
  readonly steps: readonly SegmentStep[];
  /** Values that nothing after this segment reads. */
  readonly release: readonly string[];
}

export interface RunRequest {
  /** Tokens T of this run. */
  readonly tokens: number;
  /** Inputs by name. */
  readonly given: Readonly<Record<string, Tensor>>;
  /** Memory for outputs, by name. */
  readonly into: Readonly<Record<string, Tensor>>;
  /** Name of the value to return. */
  readonly result: string;
  readonly signal?: AbortSignal | undefined;
}

export class SegmentRunner {
  readonly timings: ForwardTimings = { forwards: 0, sessionRuns: 0, modelMs: 0, beginMs: 0, waitMs: 0 };
  readonly #segments: readonly LoadedSegment[];
  readonly #deltas: DeltaSource | undefined;
  /** By group. */
  readonly #places: readonly LinearPlace[];

  private constructor(
    segments: readonly LoadedSegment[],
    deltas: DeltaSource | undefined,
    places: readonly LinearPlace[],
  ) {
    this.#segments = segments;
    this.#deltas = deltas;
    this.#places = places;
  }

  /** @param inPlace names of the outputs for which each run gives memory */
  static async load(
    segments: readonly Segment[],
    runtime: TensorRuntime,
    options: {
      readonly deltas: DeltaSource | undefined;
      readonly places: readonly LinearPlace[];
      readonly threads: number | undefined;
      readonly inPlace: ReadonlySet<string>;
      readonly onProgress: ((fraction: number) => void) | undefined;
    },
  ): Promise<SegmentRunner> {
    const loaded: LoadedSegment[] = [];
    const { threads } = options;
    try {
      for (const [index, { graph, steps }] of segments.entries()) {
        const readLater = new Set(segments.slice(index + 1).flatMap((later) => later.graph.inputNames));
        loaded.push({
          session: await runtime.createSession(graph.encode(), threads === undefined ? {} : { threads }),
          inputs: graph.inputNames,
          inPlace: graph.outputNames.filter((name) => options.inPlace.has(name)),
          steps,
          release: [...graph.inputNames, ...graph.outputNames].filter((name) => !readLater.has(name)),
        });
        options.onProgress?.((index + 1) / segments.length);
      }
    } catch (error) {
      await Promise.all(loaded.map(({ session }) => session.dispose()));
      throw error;
    }
    return new SegmentRunner(loaded, options.deltas, options.places);
  }

  /**
   * @throws TacetError aborted between segments when the signal fires; whatever a DeltaSource rejects with
   */
  async run({ tokens, given, into, result, signal }: RunRequest): Promise<Tensor> {
    const values = new Map(Object.entries(given));
    let pending: PendingDelta | undefined;
    for (const segment of this.#segments) {
      throwIfAborted(signal);
      await this.#runSegment(segment, values, into);
      for (const step of segment.steps) {
        if (step.kind === "begin") pending = this.#begin(step.group, values.get(step.input)!, tokens);
        else values.set(step.delta, await this.#wait(step.group, pending!, tokens));
      }
      for (const name of segment.release) if (name !== result) values.delete(name);
    }
    this.timings.forwards++;
    return values.get(result)!;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#segments.map(({ session }) => session.dispose()));
  }

  async #runSegment(
    segment: LoadedSegment,
    values: Map<string, Tensor>,
    given: Readonly<Record<string, Tensor>>,
  ): Promise<void> {
    const start = performance.now();
    const inputs: Record<string, Tensor> = {};
    for (const name of segment.inputs) inputs[name] = values.get(name)!;
    let into: Record<string, Tensor> | undefined;
    for (const name of segment.inPlace) (into ??= {})[name] = given[name];
    const outputs = await segment.session.run(inputs, into);
    for (const name in outputs) values.set(name, outputs[name]);
    this.timings.sessionRuns++;
    this.timings.modelMs += performance.now() - start;
  }

  #begin(group: number, x: Tensor, tokens: number): PendingDelta {
    const start = performance.now();
    const pending = this.#deltas!.begin(group, x.data as Float32Array, tokens);
    this.timings.beginMs += performance.now() - start;
    return pending;
  }

  async #wait(group: number, pending: PendingDelta, tokens: number): Promise<Tensor> {
    const start = performance.now();
    const place = this.#places[group];
    const data = joinDeltas(place, this.#deltas!.groups[group].modules, await pending.wait(), tokens);
    this.timings.waitMs += performance.now() - start;
    return { type: "float32", dims: [1, tokens, data.length / tokens], data };
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
}
