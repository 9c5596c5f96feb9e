/** Runs a chain of segments: ONNX sessions with a DeltaSource between them. */

import { TacetError } from "../base/errors.ts";
import type { TensorRuntime } from "../base/platform.ts";
import type { DeltaSource, PendingDelta } from "./delta-source.ts";
import { type KvCache, newRowsName } from "./kv-cache.ts";
import { joinDeltas, type LinearPlace } from "./linear-place.ts";
import type { Segment, SegmentStep } from "./segment-builder.ts";
import { LOGITS, type LoadedModel, type LoadedSegment, type PassInput, SegmentPass } from "./segment-pass.ts";

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

  private constructor(model: LoadedModel) {
    this.#model = model;
  }

  static async load(
    segments: readonly Segment[],
    runtime: TensorRuntime,
    { deltas, places, layers: layerCount, threads, onProgress }: RunnerOptions,
  ): Promise<SegmentRunner> {
    const loaded: LoadedSegment[] = [];
    const layers = new Map(Array.from({ length: layerCount }, (_, layer) => [newRowsName(layer), layer]));
    try {
      for (const [index, { graph, steps }] of segments.entries()) {
        const { inputs, outputs } = graph;
        const later = segments.slice(index + 1).flatMap((segment) => segment.graph.inputs);
        const readLater = new Set(later.map(({ name }) => name)).add(LOGITS);
        for (const step of steps) if (step.kind === "begin") readLater.add(step.input);
        loaded.push({
          session: await runtime.createSession(graph.encode(), threads === undefined ? {} : { threads }),
          inputs: inputs.map(({ name }) => name),
          newRows: outputs.flatMap(({ name }) => {
            const layer = layers.get(name);
            return layer === undefined ? [] : { layer, name };
          }),
          steps,
          release: [...inputs, ...outputs].map(({ name }) => name).filter((name) => !readLater.has(name)),
        });
        onProgress?.((index + 1) / segments.length);
      }
    } catch (error) {
      await Promise.all(loaded.map(({ session }) => session.dispose()));
      throw error;
    }
    return new SegmentRunner({ segments: loaded, deltas, places });
  }

  /**
   * The logits asked for, (rows, vocab) row-major. The cache must have room; what is written there is not counted.
   *
   * @throws TacetError aborted when the signal fires; whatever a DeltaSource rejects with
   */
  async run(input: PassInput, cache: KvCache, signal: AbortSignal | undefined): Promise<Float32Array> {
    const pass = new SegmentPass(this.#model, cache, input);
    let pending: PendingDelta | undefined;
    try {
      for (let index = 0; index < this.#model.segments.length; index++) {
        throwIfAborted(signal);
        await this.#runSegment(pass, index);
        for (const step of this.#model.segments[index].steps) {
          if (step.kind === "begin") pending = this.#begin(step, pass);
          else await this.#wait(step, pending!, pass, signal);
        }
      }
    } catch (error) {
      // If it is still on its way, nobody else will ask how it ends.
      pending?.wait().catch(() => {});
      throw error;
    }
    this.timings.forwards++;
    return pass.data(LOGITS);
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#model.segments.map(({ session }) => session.dispose()));
  }

  async #runSegment(pass: SegmentPass, index: number): Promise<void> {
    const start = performance.now();
    await pass.runSegment(index);
    this.timings.sessionRuns++;
    this.timings.modelMs += performance.now() - start;
  }

  #begin({ group, input }: SegmentStep & { kind: "begin" }, pass: SegmentPass): PendingDelta {
    const start = performance.now();
    const pending = this.#model.deltas!.begin(group, pass.data(input), pass.tokens);
    this.timings.beginMs += performance.now() - start;
    return pending;
  }

  async #wait(
    step: SegmentStep & { kind: "wait" },
    pending: PendingDelta,
    pass: SegmentPass,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const start = performance.now();
    const deltas = await (signal ? unlessAborted(pending.wait(), signal) : pending.wait());
    const { modules } = this.#model.deltas!.groups[step.group];
    joinDeltas(this.#model.places[step.group], modules, deltas, pass.deltaData(step));
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
