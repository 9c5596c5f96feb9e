/**
 * Where an activated LoRA begins to act: at the first token of the last place in a prompt that has its invocation.
 * What comes before is the base model's alone, so it costs no query, and what was read of it serves the base model and
 * every other activated LoRA on it.
 */

/** Infinity where the ids do not have it. */
export function lastInvocation(ids: readonly number[], invocation: readonly number[]): number {
  for (let at = ids.length - invocation.length; at >= 0; at--) {
    if (invocation.every((id, i) => ids[at + i] === id)) return at;
  }
  return Number.POSITIVE_INFINITY;
}
