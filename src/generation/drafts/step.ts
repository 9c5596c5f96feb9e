/** One step of an answer: a pass of the private model, over the last token and its drafts. */

import { TacetError } from "../../base/errors.ts";
import type { CausalLm } from "../../model/causal-lm.ts";
import type { KvCache } from "../../model/kv-cache.ts";
import type { TokenChoice } from "../token-choice.ts";
import type { Drafting } from "./drafting.ts";

/** What every step of an answer works with. */
export interface AnswerParts {
  readonly model: CausalLm;
  readonly cache: KvCache;
  readonly choice: TokenChoice;
  readonly drafting: Drafting;
  readonly eosIds: readonly number[];
  readonly signal: AbortSignal | undefined;
}

export interface Step {
  /** At least one; the drafts that were right come first. */
  readonly chosen: readonly number[];
  /** The logits (vocab) that each was chosen from. */
  readonly rows: readonly Float32Array[];
}

/** Without its drafts a pass may be let through that was refused with them. */
const REFUSED_WITH_DRAFTS: readonly string[] = ["budget_exhausted", "too_many_requests"];

/**
 * Reads what the cache does not hold yet, with drafts behind it, and chooses at every place as if the drafts before it
 * had been the answer: so far as they were. The cache then holds all that is known but the last token that was chosen.
 *
 * @param ids the context, as far as it is known
 * @param next the end of it that the cache does not hold
 * @param room most drafts
 * @throws TacetError what model and drafts fail with, the cache then being as before
 */
export async function step(
  { model, cache, choice, drafting, eosIds, signal }: AnswerParts,
  ids: readonly number[],
  next: readonly number[],
  room: number,
): Promise<Step> {
  const before = cache.length + next.length;
  const options = signal ? { signal } : {};
  const choose = (logits: Float32Array, ahead: readonly number[]) => choice.choose(logits, ahead);
  let drafts = room === 0 ? [] : await drafting.draft({ ids, next, cache, signal, choose }, room);
  const start = performance.now();
  let logits: Float32Array;
  try {
    const all = [...next, ...drafts];
    logits = await (drafts.length === 0
      ? model.forward(all, cache, options)
      : model.forwardAll(all, cache, options));
  } catch (error) {
    const isRefused = error instanceof TacetError && REFUSED_WITH_DRAFTS.includes(error.code);
    if (drafts.length === 0 || !isRefused) throw error;
    drafting.refused(drafts);
    drafts = [];
    logits = await model.forward(next, cache, options);
  }
  const ms = performance.now() - start;
  const { vocabSize } = model.config;
  const chosen: number[] = [];
  const rows: Float32Array[] = [];
  for (let row = 0; row <= drafts.length; row++) {
    rows.push(logits.subarray(row * vocabSize, (row + 1) * vocabSize));
    chosen.push(choose(rows[row], chosen));
    if (chosen[row] !== drafts[row] || eosIds.includes(chosen[row])) break;
  }
  cache.truncate(before + chosen.length - 1);
  drafting.passed({ drafts, chosen, ms });
  return { chosen, rows };
}
