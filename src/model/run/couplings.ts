/** When the effects are asked for that let groups be asked together (look-ahead.ts): once for each source of deltas. */

import { TacetError } from "../../base/errors.ts";
import { unlessAborted } from "../../base/abort.ts";
import type { LowRankSource } from "../delta-source.ts";
import { couplePair } from "./look-ahead.ts";
import type { LoadedModel } from "./segment-pass.ts";

/** How far one source is. */
interface Progress {
  /** Decode steps that went without. */
  steps: number;
  work: Promise<void> | undefined;
  /** Passes that wait for `work`. */
  waiting: number;
  isOver: boolean;
}

/** A step can do without look-ahead where these keep it from being prepared. */
const NOT_FATAL: readonly string[] = ["budget_exhausted", "too_many_requests", "too_large"];

export class Couplings {
  readonly #model: LoadedModel;
  readonly #after: number;
  readonly #progress = new WeakMap<LowRankSource, Progress>();

  /** @param after decode steps that go without */
  constructor(model: LoadedModel, after: number) {
    this.#model = model;
    this.#after = after;
  }

  /**
   * Before a decode step: couples the pairs of the source, when enough steps went without.
   *
   * @throws TypeError if another model has coupled the source: its weights made the effects; TacetError aborted;
   *   whatever the source fails with, but for refusals that the step can do without
   */
  async prepare(signal: AbortSignal | undefined): Promise<void> {
    const { deltas, pairs } = this.#model;
    const lowRank = pairs.size === 0 ? undefined : deltas?.lowRank;
    if (!lowRank) return;
    const progress = this.#progressOf(lowRank);
    if (progress.isOver || progress.steps++ < this.#after) return;
    progress.waiting++;
    try {
      progress.work ??= this.#couple(lowRank, progress).finally(() => (progress.work = undefined));
      await unlessAborted(progress.work, signal);
    } finally {
      progress.waiting--;
    }
  }

  #progressOf(lowRank: LowRankSource): Progress {
    let progress = this.#progress.get(lowRank);
    if (progress) return progress;
    for (const second of this.#model.pairs.keys()) {
      if (lowRank.isCoupled(second)) throw new TypeError("a source of deltas serves one model: make another");
    }
    progress = { steps: 0, work: undefined, waiting: 0, isOver: false };
    this.#progress.set(lowRank, progress);
    return progress;
  }

  async #couple(lowRank: LowRankSource, progress: Progress): Promise<void> {
    const { deltas, pairs, places } = this.#model;
    try {
      for (const pair of pairs.values()) {
        if (lowRank.isCoupled(pair.second)) continue; // by us, before everyone was aborted
        await couplePair(pair, deltas!, lowRank, places[pair.second]);
        if (progress.waiting === 0) return; // all were aborted: the next step goes on
      }
    } catch (error) {
      const isHarmless =
        error instanceof RangeError || (error instanceof TacetError && NOT_FATAL.includes(error.code));
      if (!isHarmless) throw error;
    }
    progress.isOver = true; // pairs that are not coupled are asked one after the other
  }
}
