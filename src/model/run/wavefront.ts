/**
 * Several parts of a prompt on their way through the segments at the same time, each a little behind the one before.
 *
 * A part's attention reads the rows that the parts before it have put into the cache at that layer: so a segment is run
 * for one part after the other, in order. One session runs at a time, for the first part of those that could go on, while
 * the answers to the others are on their way.
 */
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";

/** Runs the next segment of a part when it is its turn. */
export type TakeTurn = (run: () => Promise<void>) => Promise<void>;

interface Part {
  /** Segments that have been run for it. */
  done: number;
  /** Lets it run the next one, which it is ready for. */
  go: (() => void) | undefined;
}

export class Wavefront {
  readonly #parts: Part[] = [];
  #isRunning = false;
  #failure: { readonly error: unknown } | undefined;
  readonly #abort = new AbortController();

  /** Fires when one part has failed, or the caller's signal has: the others are not needed then. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Reads parts in order, `atMost` at a time. Settles when none of them does anything any more.
   *
   * @throws whatever the first one to fail throws; TacetError aborted
   */
  async read<Result>(
    parts: readonly ((takeTurn: TakeTurn) => Promise<Result>)[],
    atMost: number,
    signal: AbortSignal | undefined,
  ): Promise<Result[]> {
    const stop = () => this.#abort.abort();
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    const results = new Array<Result>(parts.length);
    let next = 0;
    // Each of these reads one part after another, so that no more are on their way.
    const reader = async (): Promise<void> => {
      while (next < parts.length && !this.signal.aborted) {
        const index = next++;
        const part: Part = { done: 0, go: undefined };
        this.#parts.push(part);
        try {
          results[index] = await parts[index]((run) => this.#takeTurn(part, run));
          // It may have needed fewer segments than those behind it.
          part.done = Number.POSITIVE_INFINITY;
          this.#next();
        } catch (error) {
          this.#failure ??= { error };
          stop();
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(atMost, parts.length) }, reader));
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    if (this.#failure) throw this.#failure.error;
    throwIfAborted(this.signal);
    return results;
  }

  async #takeTurn(part: Part, run: () => Promise<void>): Promise<void> {
    throwIfAborted(this.signal);
    const turn = new Promise<void>((resolve) => (part.go = resolve));
    this.#next();
    try {
      await unlessAborted(turn, this.signal);
    } catch (error) {
      part.go = undefined;
      throw error;
    }
    try {
      await run();
      part.done++;
    } finally {
      this.#isRunning = false;
      this.#next();
    }
  }

  /** Lets the first part go on that can, unless one is running. */
  #next(): void {
    if (this.#isRunning) return;
    const isNext = ({ go, done }: Part, index: number) =>
      go !== undefined && (index === 0 || this.#parts[index - 1].done > done);
    const part = this.#parts.find(isNext);
    if (!part) return;
    this.#isRunning = true;
    part.go!();
    part.go = undefined;
  }
}
