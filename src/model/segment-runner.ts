/** Runs a chain of segments: ONNX sessions with a DeltaSource between them. */

import { assertNever, TacetError } from "../base/errors.ts";
import type { TensorRuntime, TensorSession } from "../base/platform.ts";
import type { DeltaSource, LowRankSource, PendingDelta } from "./delta-source.ts";
import type { KvCache } from "./kv-cache.ts";
import type { LinearPlace } from "./linear-place.ts";
import {
  askAhead,
  couplePair,
  dropExchange,
  type Exchange,
  type LoadedPair,
  takeAhead,
} from "./look-ahead.ts";
import type { Segment } from "./segment-builder.ts";
import {
  type GivenMemory,
  type LoadedModel,
  type LoadedSegment,
  type LoadedStep,
  numberValues,
  type PairStep,
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
  /** Decode steps before the effects of look-ahead are asked for. */
  readonly coupleAfter: number;
  /** A vector of the checkpoint. */
  readonly readWeight: (name: string, shape: readonly number[]) => Promise<Float32Array>;
  readonly onProgress: ((fraction: number) => void) | undefined;
}

/** How far the pairs of a source are coupled. */
interface Couplings {
  /** Decode steps that went without. */
  steps: number;
  work: Promise<void> | undefined;
  /** Passes that wait for `work`. */
  waiting: number;
  isOver: boolean;
  /** Second groups of the pairs that this model has coupled. */
  readonly coupled: Set<number>;
}

/** A step can do without look-ahead where these keep it from being prepared. */
const NOT_FATAL: readonly string[] = ["budget_exhausted", "too_many_requests", "too_large"];

/** What has been asked for and not been waited for. */
interface Open {
  pending?: PendingDelta | undefined;
  exchange?: Exchange | undefined;
}

export class SegmentRunner {
  readonly timings: ForwardTimings = { forwards: 0, sessionRuns: 0, modelMs: 0, beginMs: 0, waitMs: 0 };
  readonly #model: LoadedModel;
  readonly #memory = new WeakMap<KvCache, GivenMemory>();
  readonly #couplings = new WeakMap<LowRankSource, Couplings>();
  readonly #coupleAfter: number;

  private constructor(model: LoadedModel, coupleAfter: number) {
    this.#model = model;
    this.#coupleAfter = coupleAfter;
  }

  /** @throws TacetError bad_checkpoint, io_failed: what a session or a norm's weight can't be made of */
  static async load(
    segments: readonly Segment[],
    runtime: TensorRuntime,
    { deltas, places, layers, threads, coupleAfter, readWeight, onProgress }: RunnerOptions,
  ): Promise<SegmentRunner> {
    const { slotOf, numbered } = numberValues(segments, layers);
    const loaded: LoadedSegment[] = [];
    const pairs = new Map<number, LoadedPair>();
    try {
      for (const [index, { graph }] of segments.entries()) {
        const session = await runtime.createSession(graph.encode(), threads === undefined ? {} : { threads });
        loaded.push({ session, ...numbered[index] });
        for (const step of numbered[index].steps) {
          if (step.kind === "take-ahead")
            pairs.set(step.pair.second, await loadPair(step, session, readWeight));
        }
        onProgress?.((index + 1) / segments.length);
      }
    } catch (error) {
      await Promise.all(loaded.map(({ session }) => session.dispose()));
      throw error;
    }
    return new SegmentRunner({ segments: loaded, slotOf, deltas, places, pairs }, coupleAfter);
  }

  /**
   * The logits asked for, (rows, vocab) row-major. The cache must have room; what is written there is not counted.
   *
   * @throws TacetError aborted when the signal fires; whatever a DeltaSource rejects with
   */
  async run(input: PassInput, cache: KvCache, signal: AbortSignal | undefined): Promise<Float32Array> {
    throwIfAborted(signal);
    if (input.ids.length === 1) await this.#couple(signal);
    const pass = new SegmentPass(this.#model, cache, this.#memoryOf(cache), input);
    const open: Open = {};
    try {
      for (const segment of this.#model.segments) {
        throwIfAborted(signal);
        await this.#runSegment(pass, segment);
        for (const step of segment.steps) {
          const start = performance.now();
          await this.#step(step, pass, open, signal);
          const isBegin = step.kind === "begin" || step.kind === "ask-ahead";
          this.timings[isBegin ? "beginMs" : "waitMs"] += performance.now() - start;
        }
        pass.release(segment);
      }
    } catch (error) {
      // They are still on their way, and nobody else will ask how they end. They may still write where they were told to.
      open.pending?.wait().catch(() => {});
      if (open.exchange) dropExchange(open.exchange);
      this.#memory.delete(cache);
      throw error;
    }
    this.timings.forwards++;
    return pass.logits();
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#model.segments.map(({ session }) => session.dispose()));
  }

  #memoryOf(cache: KvCache): GivenMemory {
    let memory = this.#memory.get(cache);
    if (!memory) this.#memory.set(cache, (memory = new Map()));
    return memory;
  }

  async #runSegment(pass: SegmentPass, segment: LoadedSegment): Promise<void> {
    const start = performance.now();
    await pass.runSegment(segment);
    this.timings.sessionRuns++;
    this.timings.modelMs += performance.now() - start;
  }

  async #step(
    step: LoadedStep,
    pass: SegmentPass,
    open: Open,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const deltas = this.#model.deltas!;
    switch (step.kind) {
      case "begin":
        open.pending = deltas.begin(step.group, pass.data(step.slot), pass.tokens);
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
      case "ask-ahead": {
        const asked = askAhead(this.#model.pairs.get(step.pair.second)!, pass, deltas, () =>
          throwIfAborted(signal),
        );
        try {
          open.exchange = await unlessAborted(asked, signal);
        } catch (error) {
          asked.then(dropExchange).catch(() => {});
          throw error;
        }
        break;
      }
      case "take-ahead":
        await unlessAborted(takeAhead(open.exchange!, pass), signal);
        open.exchange = undefined;
        break;
      default:
        assertNever(step);
    }
  }

  /**
   * Couples the pairs of the source, once, when enough steps went without.
   *
   * @throws TypeError if another model has coupled the source: its weights made the effects
   */
  async #couple(signal: AbortSignal | undefined): Promise<void> {
    const { deltas, pairs } = this.#model;
    const lowRank = pairs.size === 0 ? undefined : deltas?.lowRank;
    if (!lowRank) return;
    let state = this.#couplings.get(lowRank);
    if (!state) {
      for (const second of pairs.keys()) {
        if (lowRank.isCoupled(second))
          throw new TypeError("a source of deltas serves one model: make another");
      }
      state = { steps: 0, work: undefined, waiting: 0, isOver: false, coupled: new Set() };
      this.#couplings.set(lowRank, state);
    }
    if (state.isOver || state.steps++ < this.#coupleAfter) return;
    const mine = state;
    mine.waiting++;
    try {
      mine.work ??= this.#coupleAll(deltas!, lowRank, mine).finally(() => (mine.work = undefined));
      await unlessAborted(mine.work, signal);
    } finally {
      mine.waiting--;
    }
  }

  async #coupleAll(deltas: DeltaSource, lowRank: LowRankSource, state: Couplings): Promise<void> {
    try {
      for (const pair of this.#model.pairs.values()) {
        if (state.coupled.has(pair.second)) continue;
        await couplePair(pair, deltas, lowRank, this.#model.places[pair.second]);
        state.coupled.add(pair.second);
        if (state.waiting === 0) return; // all were aborted: the next step goes on
      }
    } catch (error) {
      const isHarmless =
        error instanceof RangeError || (error instanceof TacetError && NOT_FATAL.includes(error.code));
      if (!isHarmless) throw error;
    }
    state.isOver = true; // pairs that are not coupled are asked one after the other
  }
}

async function loadPair(
  { pair, slots }: PairStep,
  session: TensorSession,
  readWeight: RunnerOptions["readWeight"],
): Promise<LoadedPair> {
  const { first, second, norm, names } = pair;
  const gain = await readWeight(norm.weight, [norm.width]);
  const { epsilon } = norm;
  return {
    first,
    second,
    slots,
    gain,
    epsilon,
    session,
    normedName: names.normed,
    productName: names.product,
  };
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
}

/** @throws TacetError aborted as soon as the signal fires, whatever becomes of the work */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
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
