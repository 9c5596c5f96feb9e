/**
 * Whose segment runs next, of all passes that use the same sessions.
 *
 * Passes of several conversations go on beside each other: while one waits for deltas, others compute. A run for one row
 * takes nearly as long as one for several, since it reads all weights either way. So passes that have come to the same
 * segment run it at once, with their rows below each other, where a row of what it makes follows from the same row of
 * what it is given (`isByRow`). Attention is not like that: it runs for one pass after the other.
 */
import { throwIfAborted } from "../../base/abort.ts";
import { TacetError } from "../../base/errors.ts";
import type { LoadedSegment } from "./loaded-model.ts";
import { runAlone, runTogether } from "./run-together.ts";
import type { SegmentPass } from "./segment-pass.ts";

/** Rows of a run: with more of them it is their products that take the time, and the first would wait for the last. */
const MOST_ROWS = 64;

export interface SegmentQueueOptions {
  /** Runs at a time. More than the processor has cores for would only share its caches. */
  readonly atOnce: number;
  /** Resolves when what has arrived by now has been taken in. Default: passes are not waited for. */
  readonly afterEvents?: (() => Promise<void>) | undefined;
}

interface Waiting {
  readonly segment: LoadedSegment;
  readonly pass: SegmentPass;
  /** It cannot leave any more. */
  start(): void;
  done(ms: number): void;
  fail(error: unknown): void;
}

export class SegmentQueue {
  readonly #atOnce: number;
  readonly #afterEvents: (() => Promise<void>) | undefined;
  readonly #waiting: Waiting[] = [];
  #passes = 0;
  #running = 0;
  #isGathering = false;

  constructor({ atOnce, afterEvents }: SegmentQueueOptions) {
    this.#atOnce = atOnce;
    this.#afterEvents = afterEvents;
  }

  /** A pass begins, and will run its segments. To be followed by `leave`. */
  enter(): void {
    this.#passes++;
  }

  leave(): void {
    this.#passes--;
  }

  /**
   * Runs a segment of a pass. Gives the milliseconds that it took; of a run for several passes, this one's share.
   * @throws TacetError aborted if the signal fires before it runs; internal
   */
  async run(segment: LoadedSegment, pass: SegmentPass, signal: AbortSignal | undefined): Promise<number> {
    throwIfAborted(signal);
    const isAlone = this.#passes <= 1 && this.#running === 0 && this.#waiting.length === 0;
    if (isAlone) return await this.#runAlone(segment, pass);
    return await new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(new TacetError("aborted", "stopped on request"));
      };
      const start = (): void => signal?.removeEventListener("abort", leave);
      const waiting: Waiting = { segment, pass, start, done: resolve, fail: reject };
      signal?.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiting);
      this.#next();
    });
  }

  async #runAlone(segment: LoadedSegment, pass: SegmentPass): Promise<number> {
    this.#running++;
    const from = performance.now();
    try {
      await runAlone(segment, pass);
      return performance.now() - from;
    } finally {
      this.#running--;
      if (this.#waiting.length > 0) this.#next();
    }
  }

  /** Begins what can be begun: at once for a single pass, else when those that are about to come have come. */
  #next(): void {
    if (this.#passes <= 1 || this.#afterEvents === undefined) {
      this.#begin();
      return;
    }
    if (this.#isGathering) return;
    this.#isGathering = true;
    void this.#afterEvents().then(() => {
      this.#isGathering = false;
      this.#begin();
    });
  }

  #begin(): void {
    while (this.#running < this.#atOnce && this.#waiting.length > 0) void this.#run(this.#takeFirst());
  }

  /** The first one, and those that can go with it. */
  #takeFirst(): readonly Waiting[] {
    const first = this.#waiting.shift()!;
    const { segment, pass } = first;
    const together = [first];
    if (!segment.isByRow) return together;
    let rows = pass.tokens;
    for (const other of [...this.#waiting]) {
      const fits = rows + other.pass.tokens <= MOST_ROWS;
      if (other.segment !== segment || !fits || !other.pass.isGivenAs(pass, segment)) continue;
      rows += other.pass.tokens;
      together.push(other);
      this.#waiting.splice(this.#waiting.indexOf(other), 1);
    }
    return together;
  }

  async #run(together: readonly Waiting[]): Promise<void> {
    this.#running++;
    for (const { start } of together) start();
    const passes = together.map(({ pass }) => pass);
    const from = performance.now();
    try {
      const [{ segment }] = together;
      const failures = passes.length > 1 ? await runTogether(segment, passes) : [];
      if (passes.length === 1) await runAlone(segment, passes[0]);
      const ms = performance.now() - from;
      const rows = passes.reduce((sum, { tokens }) => sum + tokens, 0);
      for (const [i, { pass, done, fail }] of together.entries()) {
        if (failures[i] === undefined) done((ms * pass.tokens) / rows);
        else fail(failures[i]);
      }
    } catch (error) {
      for (const { fail } of together) fail(error);
    } finally {
      this.#running--;
      this.#next();
    }
  }
}
