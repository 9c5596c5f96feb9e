/** Who guesses what follows. */

import type { CausalLm } from "../../model/causal-lm.ts";
import type { Drafter } from "./drafting.ts";

/** Ids that a place of the context must have in common with its end; more than the most tell nothing more. */
const MATCH = { least: 2, most: 8 };

/**
 * Prompt lookup (A. Saxena, 2023): what followed the last place in the context that is most like its end. For texts that
 * repeat themselves or a prompt: extracts, edits, names.
 */
export const promptLookup: Drafter = { draft: async ({ ids }, most) => lookUp(ids, most) };

/** @returns none where no place has two ids in common with the end */
export function lookUp(ids: readonly number[], most: number): number[] {
  const end = ids.length - 1;
  let best = { at: -1, length: MATCH.least - 1 };
  for (let at = end - 1; at >= 0 && best.length < MATCH.most; at--) {
    let length = 0;
    while (length < MATCH.most && at >= length && ids[at - length] === ids[end - length]) length++;
    if (length > best.length) best = { at, length };
  }
  if (best.at < 0) return [];
  // Where the match reaches the end, what follows is what was just drafted: a text that goes round.
  const text = [...ids];
  for (let i = 1; i <= most; i++) text.push(text[best.at + i]);
  return text.slice(ids.length);
}

/** The base model that is here, alone or with a public adapter, on the keys and values of the private one. */
export function modelDrafter(model: CausalLm): Drafter {
  return {
    async draft({ next, cache, signal, choose }, most) {
      return await model.draft(cache, { ids: next, most, choose, ...(signal && { signal }) });
    },
  };
}
