/** One part of an input, from the first segment to the last: runs sessions, asks for deltas and waits for them. */

import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { assertNever } from "../../base/errors.ts";
import type { PendingDelta } from "../delta-source.ts";
import type { KvCache } from "../kv-cache.ts";
import type { LoadedModel, LoadedSegment, LoadedStep } from "./loaded-model.ts";
import { drop, dropExchange, type Exchange, type LookAhead } from "./look-ahead.ts";
import { type GivenMemory, type PassInput, SegmentPass } from "./segment-pass.ts";
import type { SegmentQueue } from "./segment-queue.ts";
import type { TakeTurn } from "./wavefront.ts";

/** What has been asked for and not been waited for. */
interface Open {
  pending?: PendingDelta | undefined;
  exchange?: Exchange | undefined;
}

/** A part on its way. */
interface Reading {
  readonly pass: SegmentPass;
  readonly open: Open;
  readonly signal: AbortSignal | undefined;
  readonly clock: Clock;
}

/** Where the milliseconds of one part went. Of several at a time one may compute while others wait. */
export interface Clock {
  sessionRuns: number;
  modelMs: number;
  beginMs: number;
  waitMs: number;
  exchanges: number;
}

export const newClock = (): Clock => ({ sessionRuns: 0, modelMs: 0, beginMs: 0, waitMs: 0, exchanges: 0 });

/** What is read, with which memory, and where its time is noted. */
export interface Part {
  readonly input: PassInput;
  readonly memory: GivenMemory;
  readonly clock: Clock;
}

export class PartReader {
  readonly #model: LoadedModel;
  readonly #lookAhead: LookAhead;
  readonly #queue: SegmentQueue;
  /** The last segment that makes something for the cache. */
  readonly #lastKept: number;

  /** @param queue of all that use these sessions */
  constructor(model: LoadedModel, lookAhead: LookAhead, queue: SegmentQueue) {
    this.#model = model;
    this.#lookAhead = lookAhead;
    this.#queue = queue;
    this.#lastKept = model.segments.findLastIndex(
      ({ newRows, newStates, presents }) => newRows.length + newStates.length + presents.length > 0,
    );
  }

  /**
   * The logits that the part asks for, undefined if it is context only. Its rows are in the cache then, not counted.
   *
   * @throws TacetError aborted when the signal fires; whatever the DeltaSource rejects with
   */
  async read(
    { input, memory, clock }: Part,
    cache: KvCache,
    takeTurn: TakeTurn,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array | undefined> {
    const pass = new SegmentPass(this.#model, cache, memory, input);
    const open: Open = {};
    const reading: Reading = { pass, open, signal, clock };
    this.#queue.enter();
    try {
      for (const [index, segment] of this.#model.segments.entries()) {
        throwIfAborted(signal);
        await takeTurn(() => this.#runSegment(segment, reading));
        throwIfAborted(signal);
        // What comes behind is for the logits alone: nobody is asked for it.
        if (input.isContext && index === this.#lastKept) return undefined;
        for (const step of segment.steps) {
          const start = performance.now();
          const done = this.#step(step, reading);
          const begun = performance.now();
          await done;
          clock.beginMs += begun - start;
          clock.waitMs += performance.now() - begun;
        }
        pass.release(segment);
      }
      return pass.logits();
    } catch (error) {
      // Still on their way: their errors are ignored.
      drop(open.pending);
      if (open.exchange) dropExchange(open.exchange);
      throw error;
    } finally {
      this.#queue.leave();
      pass.end();
    }
  }

  async #runSegment(segment: LoadedSegment, { pass, clock, signal }: Reading): Promise<void> {
    clock.modelMs += await this.#queue.run(segment, pass, signal);
    clock.sessionRuns++;
  }

  async #step(step: LoadedStep, { pass, open, signal, clock }: Reading): Promise<void> {
    const deltas = this.#model.deltas!;
    switch (step.kind) {
      case "begin": {
        const x = pass.data(step.slot);
        open.pending = deltas.begin(step.group, x, x.length / deltas.groups[step.group].inFeatures);
        if (open.pending.asked) await unlessAborted(open.pending.asked, signal);
        break;
      }
      case "begin-ids":
        open.pending = deltas.beginIds!(step.group, pass.ids);
        break;
      case "begin-routed": {
        const x = pass.data(step.slot);
        const experts = pass.integers(step.experts);
        const rows = step.rows === undefined ? experts.map((_, route) => route) : pass.integers(step.rows);
        const count = x.length / deltas.groups[step.group].inFeatures;
        open.pending = deltas.beginRouted!(step.group, x, count, { rows, experts });
        if (open.pending.asked) await unlessAborted(open.pending.asked, signal);
        break;
      }
      case "wait": {
        const pending = open.pending!;
        open.pending = undefined;
        if (deltas.asks?.(step.group) !== false) clock.exchanges++;
        await unlessAborted(
          pass.giveDeltas(step.slot, step.group, (targets) => pending.wait(targets)),
          signal,
        );
        break;
      }
      case "ask-pair": {
        const asking = this.#lookAhead.ask(this.#model.pairs.get(step.pair.second)!, pass, signal);
        try {
          open.exchange = await unlessAborted(asking, signal);
          const { first, second } = step.pair;
          const asked = [first, second].filter((group) => deltas.asks?.(group) !== false).length;
          clock.exchanges += open.exchange.first === undefined ? asked : 1;
        } catch (error) {
          asking.then(dropExchange).catch(() => {});
          throw error;
        }
        const { first: one, second: two } = open.exchange;
        if (one?.asked || two.asked) await unlessAborted(Promise.all([one?.asked, two.asked]), signal);
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
