/** KV caches of conversations that may go on: a request gets what has been read of its prompt. */

import { CachedContext } from "../generation/cached-context.ts";
import type { CausalLm } from "../model/causal-lm.ts";

/** A context that would lose no more of what it holds is taken itself; else it is kept, and a copy is given. */
const SMALL_LOSS = 0.1;

/**
 * What is generated does not depend on which context it is: only how much has to be read does. At most `most` contexts
 * are kept; of those the one that has been quiet longest goes first.
 */
export class ContextPool {
  readonly #model: CausalLm;
  readonly #most: number;
  /** Not in use; the one that was used last is the last. */
  readonly #idle: CachedContext[] = [];
  #disposed = false;

  constructor(model: CausalLm, most: number) {
    this.#model = model;
    this.#most = most;
  }

  /** A context of the caller's own until it is given back. */
  take(promptIds: readonly number[]): CachedContext {
    const best = this.#longestMatch(promptIds);
    if (best === undefined) return new CachedContext(this.#model);
    const at = this.#idle.indexOf(best);
    const loss = 1 - best.reusable(promptIds) / best.ids.length;
    const isNext = at === 0 && this.#idle.length >= this.#most; // it would go anyway
    if (loss > SMALL_LOSS && !isNext) return best.fork(promptIds);
    this.#idle.splice(at, 1);
    return best;
  }

  giveBack(context: CachedContext): void {
    if (this.#disposed || context.ids.length === 0) {
      context.dispose();
      return;
    }
    this.#idle.push(context);
    while (this.#idle.length > this.#most) this.#idle.shift()?.dispose();
  }

  /** Frees all that is idle now, and the rest when it is given back. */
  dispose(): void {
    this.#disposed = true;
    for (const context of this.#idle.splice(0)) context.dispose();
  }

  /** Of several that have as much of the prompt, the one with the least besides. */
  #longestMatch(promptIds: readonly number[]): CachedContext | undefined {
    let best: CachedContext | undefined;
    let most = 0;
    for (const context of this.#idle) {
      const reusable = context.reusable(promptIds);
      if (reusable < most || reusable === 0) continue;
      if (reusable === most && best !== undefined && best.ids.length < context.ids.length) continue;
      [best, most] = [context, reusable];
    }
    return best;
  }
}
