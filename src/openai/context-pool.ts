/** KV caches of conversations that may go on: a request gets what has been read of its prompt. */

import { CachedContext } from "../generation/cached-context.ts";
import type { CausalLm } from "../model/causal-lm.ts";

/** A context that would lose no more of what it holds is taken itself; else it is kept, and a copy is given. */
const SMALL_LOSS = 0.1;

interface IdleContext {
  readonly owner: string;
  readonly context: CachedContext;
}

/**
 * What is generated does not depend on which context it is: only how much has to be read does, and that is seen, in
 * counts and in time. So nobody gets a context, or a copy of one, that another owner has read.
 *
 * At most `most` contexts are kept; beyond them goes the one that has been quiet longest of the owner who has most.
 */
export class ContextPool {
  readonly #most: number;
  /** Not in use; the one that was used last is the last. */
  readonly #idle: IdleContext[] = [];
  #disposed = false;

  /** @param most contexts of all models that share the pool */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * A context of the caller's own until it is given back. Where another model on the same base has read more of the
   * prompt without its adapter, it begins with a copy of that.
   *
   * @param owner who asks: the name of an API key
   */
  take(model: CausalLm, promptIds: readonly number[], owner: string): CachedContext {
    const best = this.#longestMatch(model, promptIds, owner);
    if (best === undefined) return new CachedContext(model);
    const { context } = best;
    if (context.model !== model) return context.fork(promptIds, model);
    const loss = 1 - context.reusable(promptIds) / context.ids.length;
    const isNext = this.#idle.length >= this.#most && this.#victim(owner) === best; // it is the next to be evicted
    if (loss > SMALL_LOSS && !isNext) return context.fork(promptIds);
    this.#idle.splice(this.#idle.indexOf(best), 1);
    return context;
  }

  /** @param owner as it was taken */
  giveBack(context: CachedContext, owner: string): void {
    if (this.#disposed || context.ids.length === 0) {
      context.dispose();
      return;
    }
    this.#idle.push({ owner, context });
    while (this.#idle.length > this.#most) {
      const victim = this.#victim();
      this.#idle.splice(this.#idle.indexOf(victim), 1);
      victim.context.dispose();
    }
  }

  /** Frees all that is idle now, and the rest when it is given back. */
  dispose(): void {
    this.#disposed = true;
    for (const { context } of this.#idle.splice(0)) context.dispose();
  }

  /** What has to go: of the owner who has most the oldest; with `joining`, when that one gives another one back. */
  #victim(joining?: string): IdleContext {
    const counts = new Map<string, number>(joining === undefined ? [] : [[joining, 1]]);
    for (const { owner } of this.#idle) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    const most = Math.max(...counts.values());
    return this.#idle.find(({ owner }) => counts.get(owner) === most) ?? this.#idle[0];
  }

  /** Of several that have as much of the prompt, the one with the least besides. */
  #longestMatch(model: CausalLm, promptIds: readonly number[], owner: string): IdleContext | undefined {
    let best: IdleContext | undefined;
    let most = 0;
    for (const kept of this.#idle) {
      if (kept.owner !== owner) continue;
      const reusable = kept.context.reusableBy(model, promptIds);
      if (reusable < most || reusable === 0) continue;
      if (reusable === most && best !== undefined && best.context.ids.length < kept.context.ids.length)
        continue;
      [best, most] = [kept, reusable];
    }
    return best;
  }
}
