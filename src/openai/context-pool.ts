/** KV caches of conversations that may go on: a request gets the one that has read most of its prompt. */

import { CachedContext } from "../model/cached-context.ts";
import type { CausalLm } from "../model/causal-lm.ts";

/** From this share of what a context holds on, a prompt counts as that conversation going on. */
const SAME_CONVERSATION = 0.5;

/**
 * What is generated does not depend on which context it is: only how much has to be read does. At most `most` contexts
 * are kept; while more are in use at a time, the ones above are freed when they are given back.
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

  /** Contexts that are kept and not in use. */
  get idle(): number {
    return this.#idle.length;
  }

  /** A context of the caller's own until it is given back. */
  take(promptIds: readonly number[]): CachedContext {
    let best = -1;
    let most = 0;
    for (const [at, context] of this.#idle.entries()) {
      const reusable = context.reusable(promptIds);
      const again = reusable === promptIds.length - 1; // an answer that is asked for once more
      const same = again || reusable >= SAME_CONVERSATION * context.ids.length;
      if (reusable === 0 || reusable < most || !same) continue;
      [best, most] = [at, reusable];
    }
    // A prompt of its own takes the place of the conversation that has been quiet longest, when there is no other.
    if (best < 0 && this.#idle.length >= this.#most) best = 0;
    if (best < 0) return new CachedContext(this.#model);
    return this.#idle.splice(best, 1)[0];
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
}
