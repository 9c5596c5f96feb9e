/** Runs a chain of segments: ONNX sessions with a DeltaSource between them. */

import { throwIfAborted } from "../../base/abort.ts";
import type { Tensor, TensorRuntime } from "../../base/platform.ts";
import type { DeltaSource, Line } from "../delta-source.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import type { Segment } from "../graph/segment-builder.ts";
import type { KvCache } from "../kv-cache.ts";
import { type LoadedModel, type LoadedPair, type LoadedSegment, numberValues } from "./loaded-model.ts";
import { LookAhead } from "./look-ahead.ts";
import { type Clock, newClock, type Part, PartReader } from "./part-reader.ts";
import { type Exchanges, MeasuredCost, planParts, readingMs } from "./plan-parts.ts";
import { cutInput, joinRows } from "./prompt-parts.ts";
import type { GivenMemory, PassInput } from "./segment-pass.ts";
import { SegmentQueue } from "./segment-queue.ts";
import { type TakeTurn, Wavefront } from "./wavefront.ts";

/** Where the time of forward passes went, in milliseconds; sums since the model was loaded. */
export interface ForwardTimings {
  forwards: number;
  sessionRuns: number;
  /** In runs of the base model. */
  modelMs: number;
  /** In DeltaSource.begin: what is done before the answer is on its way. */
  beginMs: number;
  /** In waiting for deltas, their making included where it is done in this process, and for nothing else. */
  waitMs: number;
  /** Waits for deltas that came one after the other; of parts on their way at the same time those of one. */
  exchanges: number;
}

export interface RunnerOptions {
  /** By group of the DeltaSources. */
  readonly places: readonly LinearPlace[];
  /** How many layers the cache has. */
  readonly layers: number;
  readonly threads: number | undefined;
  /** Most tokens that are on their way through the segments at a time. */
  readonly passTokens: number;
  /** A vector of the checkpoint. */
  readonly readWeight: (name: string, shape: readonly number[]) => Promise<Float32Array>;
  readonly onProgress: ((fraction: number) => void) | undefined;
}

/** Who adds to the model: in the cuts, and inside the graphs. */
export interface Adaptation {
  readonly deltas: DeltaSource | undefined;
  /** Of an adapter that is here, or of none: by input name, for each place that the segments have LoRAs at. */
  readonly loras: ReadonlyMap<string, Tensor>;
}

/** Who adds to the model, and how it is asked. */
export interface RunnerUse extends Adaptation {
  /** Tokens that are decoded before the effects of look-ahead are asked for. */
  readonly lookAheadAfter: number;
  /** Whether two groups can be asked together. Default: all can that the segments have a pair for. */
  readonly canPair?: (first: number, second: number) => boolean;
}

/** Sessions in memory, and how many use them. */
interface Loaded extends Omit<LoadedModel, keyof Adaptation> {
  readonly passTokens: number;
  users: number;
  /** Inputs that are being read, of all users. */
  reading: number;
  readonly queue: SegmentQueue;
}

/** With more tokens an input whose rows of logits are all wanted is a text to be read, not a step. */
const MOST_STEP_TOKENS = 32;
/** Whether groups are asked together depends on the tokens of a part, and the number of parts on that: a guess first. */
const LIKELY_PARTS = 4;
const NO_LINE: Line = { roundTripMs: 0, vectorMs: 0 };
const atOnce: TakeTurn = (run) => run();

export class SegmentRunner {
  readonly timings: ForwardTimings;
  readonly #loaded: Loaded;
  readonly #model: LoadedModel;
  readonly #ofStep = new WeakMap<KvCache, GivenMemory["ofStep"]>();
  readonly #lookAhead: LookAhead;
  readonly #reader: PartReader;
  readonly #cost = new MeasuredCost();

  private constructor(
    loaded: Loaded,
    { deltas, loras, lookAheadAfter, canPair = () => true }: RunnerUse,
    timings: ForwardTimings = { forwards: 0, ...newClock() },
  ) {
    this.timings = timings;
    this.#loaded = loaded;
    this.#model = { ...loaded, deltas, loras };
    const pairs = [...loaded.pairs].filter(([, { first, second }]) => canPair(first, second));
    this.#lookAhead = new LookAhead({ ...this.#model, pairs: new Map(pairs) }, lookAheadAfter);
    this.#reader = new PartReader(this.#model, this.#lookAhead, loaded.queue);
    loaded.users++;
  }

  /**
   * One runner for each use, on the same sessions: the last one that is disposed frees them.
   * @throws TacetError bad_checkpoint, io_failed: what a session or a norm's weight can't be made of
   */
  static async load(
    segments: readonly Segment[],
    runtime: TensorRuntime,
    { places, layers, threads, passTokens, readWeight, onProgress }: RunnerOptions,
    uses: readonly RunnerUse[],
  ): Promise<SegmentRunner[]> {
    const { slotOf, numbered } = numberValues(segments, layers);
    const loaded: LoadedSegment[] = [];
    const pairs = new Map<number, LoadedPair>();
    try {
      for (const [index, { graph, onHost }] of segments.entries()) {
        const session = await runtime.createSession(graph.encode(), {
          threads,
          isWhole: segments.length === 1,
          onHost,
          keep: numbered[index].kept,
        });
        loaded.push({ session, ...numbered[index] });
        for (const step of numbered[index].steps) {
          if (step.kind !== "take-pair") continue;
          const { pair, slots } = step;
          const { weight, width, plusOne } = pair.norm;
          const stored = await readWeight(weight, [width]);
          const gain = plusOne ? stored.map((g) => g + 1) : stored;
          pairs.set(pair.second, { ...pair, slots, gain, segment: loaded[index] });
        }
        onProgress?.((index + 1) / segments.length);
      }
    } catch (error) {
      await Promise.all(loaded.map(({ session }) => session.dispose()));
      throw error;
    }
    // One that runs lets the others come to where they can go together. Where nothing can, two at a time hide what a run
    // takes besides.
    const atOnce = loaded.some(({ isByRow }) => isByRow) ? 1 : 2;
    const shared: Loaded = {
      segments: loaded,
      slotOf,
      places,
      pairs,
      passTokens,
      users: 0,
      reading: 0,
      queue: new SegmentQueue({ atOnce, afterEvents: runtime.afterEvents }),
    };
    return uses.map((use) => new SegmentRunner(shared, use));
  }

  /**
   * Another runner on the same sessions, for passes that others add to, or nobody. To be disposed too.
   * @param times whether its time counts as this one's
   */
  withAdaptation(adaptation: Adaptation, times: "together" | "apart" = "together"): SegmentRunner {
    const use = { ...adaptation, lookAheadAfter: 0, canPair: () => false };
    return new SegmentRunner(this.#loaded, use, times === "together" ? this.timings : undefined);
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
    const { length } = input.ids;
    if (length === 1 || (input.firstRow >= 0 && length <= MOST_STEP_TOKENS))
      await this.#lookAhead.prepare(length, signal);
    const { passTokens } = this.#loaded;
    const inPass = Math.min(length, passTokens);
    const { line, cost, exchanges } = this.#shareFor(inPass);
    const atMost = planParts(inPass, line, cost, exchanges);
    const cut = cutInput(input, Math.ceil((length * atMost) / inPass));
    const free: GivenMemory["free"] = new Map();
    const parts = cut.map((part) => ({
      input: part,
      memory: { ofStep: cut.length === 1 ? this.#ofStepOf(cache) : new Map(), free },
      clock: newClock(),
    }));
    const start = performance.now();
    this.#loaded.reading++;
    try {
      if (parts.length === 1) return (await this.#read(parts[0], cache, atOnce, signal))!;
      const front = new Wavefront();
      const readers = parts.map(
        (part) => (takeTurn: TakeTurn) => this.#read(part, cache, takeTurn, front.signal),
      );
      const logits = await front.read(readers, atMost, signal);
      return joinRows(logits.filter((rows) => rows !== undefined));
    } catch (error) {
      // What is still on its way may be written into memory that we lent: it is not used again.
      this.#ofStep.delete(cache);
      throw error;
    } finally {
      this.#loaded.reading--;
      this.#count(
        parts.map(({ clock }) => clock),
        Math.min(atMost, parts.length),
        performance.now() - start,
      );
    }
  }

  async #read(
    part: Part,
    cache: KvCache,
    takeTurn: TakeTurn,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array | undefined> {
    const logits = await this.#reader.read(part, cache, takeTurn, signal);
    this.#cost.add(part.input.ids.length, part.clock.modelMs + part.clock.beginMs);
    this.timings.forwards++;
    return logits;
  }

  /** To be called once. */
  async dispose(): Promise<void> {
    if (--this.#loaded.users > 0) return;
    await Promise.all(this.#model.segments.map(({ session }) => session.dispose()));
  }

  /** Milliseconds that so many tokens of an input would take now, as far as is known of line and model. */
  expectedMs(tokens: number): number {
    const { line, cost, exchanges } = this.#shareFor(tokens);
    return readingMs(tokens, planParts(tokens, line, cost, exchanges), line ?? NO_LINE, cost, exchanges);
  }

  /** What an input has of line and processor: as much as each of those that are being read. */
  #shareFor(tokens: number) {
    const { line } = this.#model.deltas ?? {};
    const { tokenMs, passMs, isUnknown } = this.#cost;
    const sharers = 1 + this.#loaded.reading;
    return {
      line: line && { roundTripMs: line.roundTripMs, vectorMs: sharers * line.vectorMs },
      cost: { tokenMs: sharers * tokenMs, passMs: sharers * passMs, isUnknown },
      exchanges: this.#exchangesOf(tokens),
    };
  }

  /** Waits of a pass. */
  #exchangesOf(tokens: number): Exchanges {
    const { deltas } = this.#model;
    const groups = (deltas?.groups ?? []).filter((_, group) => deltas!.asks?.(group) !== false).length;
    const count = groups - this.#lookAhead.pairsTogether(Math.ceil(tokens / LIKELY_PARTS));
    return { count, vectors: count === 0 ? 0 : groups / count };
  }

  #count(clocks: readonly Clock[], atMost: number, ms: number): void {
    const sum = (name: keyof Clock) => clocks.reduce((total, clock) => total + clock[name], 0);
    const [modelMs, beginMs] = [sum("modelMs"), sum("beginMs")];
    this.timings.modelMs += modelMs;
    this.timings.beginMs += beginMs;
    this.timings.sessionRuns += sum("sessionRuns");
    const most = Math.max(...clocks.map(({ exchanges }) => exchanges));
    this.timings.exchanges += most * Math.ceil(clocks.length / atMost);
    this.timings.waitMs += Math.max(0, Math.min(sum("waitMs"), ms - modelMs - beginMs));
  }

  #ofStepOf(cache: KvCache): GivenMemory["ofStep"] {
    let ofStep = this.#ofStep.get(cache);
    if (!ofStep) this.#ofStep.set(cache, (ofStep = new Map()));
    return ofStep;
  }
}
