/** Runs a chain of segments: ONNX sessions with a DeltaSource between them. */

import { TacetError } from "../base/errors.ts";
import type { TensorRuntime } from "../base/platform.ts";
import type { DeltaSource, PendingDelta } from "./delta-source.ts";
import type { KvCache } from "./kv-cache.ts";
import { joinDeltas, type LinearPlace } from "./linear-place.ts";
import type { Segment } from "./segment-builder.ts";
import {
  type DeltaMemory,
  type DeltaTensor,
  type LoadedModel,
  type LoadedSegment,
  type LoadedStep,
  numberValues,
  type PassInput,
  SegmentPass,
} from "./segment-pass.ts";

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

export interface RunnerOptions {
  readonly deltas: DeltaSource | undefined;
  /** By group of the DeltaSource. */
  readonly places: readonly LinearPlace[];
  /** How many layers the cache has. */
  readonly layers: number;
  readonly threads: number | undefined;
  readonly onProgress: ((fraction: number) => void) | undefined;
}

export class SegmentRunner {
  readonly timings: ForwardTimings = { forwards: 0, sessionRuns: 0, modelMs: 0, beginMs: 0, waitMs: 0 };
  readonly #model: LoadedModel;
  readonly #deltaMemory = new WeakMap<KvCache, DeltaMemory>();

  private constructor(model: LoadedModel) {
    this.#model = model;
  }

  static async load(
    segments: readonly Segment[],
    runtime: TensorRuntime,
    { deltas, places, layers, threads, onProgress }: RunnerOptions,
  ): Promise<SegmentRunner> {
    const { slotOf, numbered } = numberValues(segments, layers);
    const loaded: LoadedSegment[] = [];
    try {
      for (const [index, { graph }] of segments.entries()) {
        const session = await runtime.createSession(graph.encode(), threads === undefined ? {} : { threads });
        loaded.push({ session, ...numbered[index] });
        onProgress?.((index + 1) / segments.length);
      }
    } catch (error) {
      await Promise.all(loaded.map(({ session }) => session.dispose()));
      throw error;
    }
    return new SegmentRunner({ segments: loaded, slotOf, deltas, places });
  }

  /**
   * The logits asked for, (rows, vocab) row-major. The cache must have room; what is written there is not counted.
   *
   * @throws TacetError aborted when the signal fires; whatever a DeltaSource rejects with
   */
  async run(input: PassInput, cache: KvCache, signal: AbortSignal | undefined): Promise<Float32Array> {
    const pass = new SegmentPass(this.#model, cache, this.#deltaMemoryOf(cache), input);
    let pending: PendingDelta | undefined;
    try {
      for (const segment of this.#model.segments) {
        throwIfAborted(signal);
        await this.#runSegment(pass, segment);
        for (const step of segment.steps) {
          if (step.kind === "begin") {
            pending = this.#begin(step, pass);
            continue;
          }
          const tensor = pass.deltaTensor(step);
          const answer = pending!.wait(tensor.parts);
          pending = undefined;
          await this.#wait(step, answer, tensor, signal);
        }
        pass.release(segment);
      }
    } catch (error) {
      // It is still on its way, and nobody else will ask how it ends. It may still write where it was told to.
      pending?.wait().catch(() => {});
      this.#deltaMemory.delete(cache);
      throw error;
    }
    this.timings.forwards++;
    return pass.logits();
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#model.segments.map(({ session }) => session.dispose()));
  }

  #deltaMemoryOf(cache: KvCache): DeltaMemory {
    let memory = this.#deltaMemory.get(cache);
    if (!memory) this.#deltaMemory.set(cache, (memory = new Map()));
    return memory;
  }

  async #runSegment(pass: SegmentPass, segment: LoadedSegment): Promise<void> {
    const start = performance.now();
    await pass.runSegment(segment);
    this.timings.sessionRuns++;
    this.timings.modelMs += performance.now() - start;
  }

  #begin({ group, slot }: LoadedStep, pass: SegmentPass): PendingDelta {
    const start = performance.now();
    const pending = this.#model.deltas!.begin(group, pass.data(slot), pass.tokens);
    this.timings.beginMs += performance.now() - start;
    return pending;
  }

  async #wait(
    step: LoadedStep,
    answer: Promise<readonly Float32Array[]>,
    tensor: DeltaTensor,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const start = performance.now();
    const deltas = await (signal ? unlessAborted(answer, signal) : answer);
    if (deltas !== tensor.parts) {
      const { modules } = this.#model.deltas!.groups[step.group];
      joinDeltas(this.#model.places[step.group], modules, deltas, tensor.data);
    }
    this.timings.waitMs += performance.now() - start;
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
}

/** @throws TacetError aborted as soon as the signal fires, whatever becomes of the work */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new TacetError("aborted", "stopped on request"));
  });
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
