/** Runs a chain of segments: ONNX sessions with a DeltaSource between them. */

import {
  type LoadedModel,
  type LoadedPair,
  type LoadedSegment,
  type LoadedStep,
  numberValues,
} from "./loaded-model.ts";
import { assertNever } from "../../base/errors.ts";
import type { TensorRuntime } from "../../base/platform.ts";
import { FairSemaphore } from "../../base/fair-semaphore.ts";
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import type { DeltaSource, PendingDelta } from "../delta-source.ts";
import type { KvCache } from "../kv-cache.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import { dropExchange, type Exchange, LookAhead } from "./look-ahead.ts";
import type { Segment } from "../graph/segment-builder.ts";
import { type GivenMemory, type PassInput, SegmentPass } from "./segment-pass.ts";

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
  /** By group of the DeltaSources. */
  readonly places: readonly LinearPlace[];
  /** How many layers the cache has. */
  readonly layers: number;
  readonly threads: number | undefined;
  /** A vector of the checkpoint. */
  readonly readWeight: (name: string, shape: readonly number[]) => Promise<Float32Array>;
  readonly onProgress: ((fraction: number) => void) | undefined;
}

/** Who adds to the model, and how. */
export interface RunnerUse {
  readonly deltas: DeltaSource | undefined;
  /** Decode steps before the effects of look-ahead are asked for. */
  readonly lookAheadAfter: number;
  /** Whether two groups can be asked together. Default: all can that the segments have a pair for. */
  readonly canPair?: (first: number, second: number) => boolean;
}

/**
 * Segments of one base model that are computed at a time. Passes of several conversations go on beside each other: while
 * one waits for deltas, others compute. More at a time would only share the processor's cores and caches.
 */
const COMPUTING = 2;

/** Sessions in memory, and how many use them. */
interface Loaded extends Omit<LoadedModel, "deltas"> {
  users: number;
  readonly computing: FairSemaphore;
}

/** What has been asked for and not been waited for. */
interface Open {
  pending?: PendingDelta | undefined;
  exchange?: Exchange | undefined;
}

export class SegmentRunner {
  readonly timings: ForwardTimings;
  readonly #loaded: Loaded;
  readonly #model: LoadedModel;
  readonly #memory = new WeakMap<KvCache, GivenMemory>();
  readonly #lookAhead: LookAhead;

  private constructor(
    loaded: Loaded,
    { deltas, lookAheadAfter, canPair = () => true }: RunnerUse,
    timings: ForwardTimings = { forwards: 0, sessionRuns: 0, modelMs: 0, beginMs: 0, waitMs: 0 },
  ) {
    this.timings = timings;
    this.#loaded = loaded;
    this.#model = { ...loaded, deltas };
    const pairs = [...loaded.pairs].filter(([, { first, second }]) => canPair(first, second));
    this.#lookAhead = new LookAhead({ ...this.#model, pairs: new Map(pairs) }, lookAheadAfter);
    loaded.users++;
  }

  /**
   * One runner for each use, on the same sessions: the last one that is disposed frees them.
   * @throws TacetError bad_checkpoint, io_failed: what a session or a norm's weight can't be made of
   */
  static async load(
    segments: readonly Segment[],
    runtime: TensorRuntime,
    { places, layers, threads, readWeight, onProgress }: RunnerOptions,
    uses: readonly RunnerUse[],
  ): Promise<SegmentRunner[]> {
    const { slotOf, numbered } = numberValues(segments, layers);
    const loaded: LoadedSegment[] = [];
    const pairs = new Map<number, LoadedPair>();
    try {
      for (const [index, { graph }] of segments.entries()) {
        const session = await runtime.createSession(graph.encode(), threads === undefined ? {} : { threads });
        loaded.push({ session, ...numbered[index] });
        for (const step of numbered[index].steps) {
          if (step.kind !== "take-pair") continue;
          const { pair, slots } = step;
          const { weight, width, plusOne } = pair.norm;
          const stored = await readWeight(weight, [width]);
          const gain = plusOne ? stored.map((g) => g + 1) : stored;
          pairs.set(pair.second, { ...pair, slots, gain, session });
        }
        onProgress?.((index + 1) / segments.length);
      }
    } catch (error) {
      await Promise.all(loaded.map(({ session }) => session.dispose()));
      throw error;
    }
    const shared: Loaded = {
      segments: loaded,
      slotOf,
      places,
      pairs,
      users: 0,
      computing: new FairSemaphore(COMPUTING),
    };
    return uses.map((use) => new SegmentRunner(shared, use));
  }

  /**
   * Another runner on the same sessions, whose time counts as this one's: for passes that others add to, or nobody.
   * To be disposed too.
   */
  withDeltas(deltas: DeltaSource): SegmentRunner {
    return new SegmentRunner(this.#loaded, { deltas, lookAheadAfter: 0, canPair: () => false }, this.timings);
  }

  sharesSessions(other: SegmentRunner): boolean {
    return this.#loaded === other.#loaded;
  }

  /**
   * The logits asked for, (rows, vocab) row-major. The cache must have room; what is written there is not counted.
   *
   * @throws TacetError aborted when the signal fires; whatever a DeltaSource rejects with
   */
  async run(input: PassInput, cache: KvCache, signal: AbortSignal | undefined): Promise<Float32Array> {
    throwIfAborted(signal);
    if (input.ids.length === 1) await this.#lookAhead.prepare(signal);
    const pass = new SegmentPass(this.#model, cache, this.#memoryOf(cache), input);
    const open: Open = {};
    try {
      for (const segment of this.#model.segments) {
        throwIfAborted(signal);
        await this.#runSegment(pass, segment, signal);
        for (const step of segment.steps) {
          const start = performance.now();
          await this.#step(step, pass, open, signal);
          const isBegin = step.kind === "begin" || step.kind === "begin-ids" || step.kind === "ask-pair";
          this.timings[isBegin ? "beginMs" : "waitMs"] += performance.now() - start;
        }
        pass.release(segment);
      }
    } catch (error) {
      // Still on their way: their errors are ignored. They may still write into memory that we lent, so drop that too.
      open.pending?.drop?.();
      open.pending?.wait().catch(() => {});
      if (open.exchange) dropExchange(open.exchange);
      this.#memory.delete(cache);
      throw error;
    }
    this.timings.forwards++;
    return pass.logits();
  }

  /** To be called once. */
  async dispose(): Promise<void> {
    if (--this.#loaded.users > 0) return;
    await Promise.all(this.#model.segments.map(({ session }) => session.dispose()));
  }

  #memoryOf(cache: KvCache): GivenMemory {
    let memory = this.#memory.get(cache);
    if (!memory) this.#memory.set(cache, (memory = new Map()));
    return memory;
  }

  async #runSegment(
    pass: SegmentPass,
    segment: LoadedSegment,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const leave = await this.#loaded.computing.take(signal);
    try {
      const start = performance.now();
      await pass.runSegment(segment);
      this.timings.sessionRuns++;
      this.timings.modelMs += performance.now() - start;
    } finally {
      leave();
    }
  }

  async #step(
    step: LoadedStep,
    pass: SegmentPass,
    open: Open,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const deltas = this.#model.deltas!;
    switch (step.kind) {
      case "begin": {
        const x = pass.data(step.slot);
        open.pending = deltas.begin(step.group, x, x.length / deltas.groups[step.group].inFeatures);
        break;
      }
      case "begin-ids":
        open.pending = deltas.beginIds!(step.group, pass.ids);
        break;
      case "wait": {
        const pending = open.pending!;
        open.pending = undefined;
        await unlessAborted(
          pass.giveDeltas(step.slot, step.group, (targets) => pending.wait(targets)),
          signal,
        );
        break;
      }
      case "ask-pair": {
        const asked = this.#lookAhead.ask(this.#model.pairs.get(step.pair.second)!, pass, signal);
        try {
          open.exchange = await unlessAborted(asked, signal);
        } catch (error) {
          asked.then(dropExchange).catch(() => {});
          throw error;
        }
        break;
      }
      case "take-pair":
        await unlessAborted(this.#lookAhead.take(open.exchange!, pass), signal);
        open.exchange = undefined;
        break;
      default:
        assertNever(step);
    }
  }
}
