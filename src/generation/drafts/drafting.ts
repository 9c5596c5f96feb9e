/**
 * Drafts: what may follow is guessed here, and one pass of the private model reads the guesses together. At each position
 * the token is chosen from the private model's distribution, as without drafts; a draft counts if it is that token. So
 * drafts save round trips, and never change an answer.
 */

import type { KvCache } from "../../model/kv-cache.ts";

/** What an answer's drafts may cost. */
export interface DraftLimits {
  /**
   * Ids that are drafted for each pass: 0, none; default: as many as are worth it on this line, none where a provider is
   * near. At most 31.
   */
  readonly drafts?: number | undefined;
  /**
   * Activation vectors of drafts that turn out wrong, for each token of the answer at most. Default: 1 where the provider
   * sets a budget, else no limit.
   */
  readonly draftBudget?: number | undefined;
}

/** What became of an answer's drafts so far. */
export interface DraftCounts {
  /** Ids that were drafted and read. */
  drafted: number;
  /** Of these, those that were what the private model said. */
  accepted: number;
}

/** Where drafts are asked for. */
export interface DraftContext {
  /** The context, as far as its ids are known. */
  readonly ids: readonly number[];
  /** The end of it that the cache does not hold. */
  readonly next: readonly number[];
  readonly cache: KvCache;
  readonly signal: AbortSignal | undefined;
  /** The id that the request chooses from logits (vocab), if these ids came behind the context. */
  choose(logits: Float32Array, ahead: readonly number[]): number;
}

export interface Drafter {
  /** At most `most` ids that may follow; fewer where it knows no more. The cache is then as before. */
  draft(context: DraftContext, most: number): Promise<readonly number[]>;
}

/** What a pass over a token and its drafts has shown. */
export interface PassOutcome {
  readonly drafts: readonly number[];
  /** What was chosen: the drafts that were right, and one more unless the answer ends with the last of them. */
  readonly chosen: readonly number[];
  readonly ms: number;
}

/** The drafts of one answer. */
export interface Drafting {
  /** @param most what the answer has room for */
  draft(context: DraftContext, most: number): Promise<readonly number[]>;
  /** A pass is through. */
  passed(outcome: PassOutcome): void;
  /** A pass with drafts was refused, which without them may not be. */
  refused(drafts: readonly number[]): void;
  /** The answer is over, also if a pass has failed. */
  end(): void;
}

/** How many drafts of a pass were what was chosen. */
export function acceptedOf({ drafts, chosen }: Pick<PassOutcome, "drafts" | "chosen">): number {
  const wrong = drafts.findIndex((id, i) => id !== chosen[i]);
  return wrong < 0 ? drafts.length : wrong;
}

/** For an answer without drafts. */
export const noDrafting: Drafting = {
  draft: async () => [],
  passed() {},
  refused() {},
  end() {},
};
