/** How far the private logits are from those of the plaintext adapter, for the same ids. */
import type { CausalLm } from "../../model/causal-lm.ts";

export interface LogitError {
  readonly positions: number;
  readonly max: number;
  readonly rms: number;
  /** Least distance of the largest plaintext logit to the second, over the positions. */
  readonly smallestGap: number;
  /** Positions where the largest logit is another token's. */
  readonly differentTop: number;
}

export async function compareLogits(
  privateModel: CausalLm,
  plaintext: CausalLm,
  ids: readonly number[],
  signal?: AbortSignal,
): Promise<LogitError> {
  const [ours, theirs] = [
    await allLogits(privateModel, ids, signal),
    await allLogits(plaintext, ids, signal),
  ];
  const vocab = ours.length / ids.length;
  let max = 0;
  let squares = 0;
  for (let i = 0; i < ours.length; i++) {
    const error = Math.abs(ours[i] - theirs[i]);
    max = Math.max(max, error);
    squares += error * error;
  }
  let smallestGap = Number.POSITIVE_INFINITY;
  let differentTop = 0;
  for (let at = 0; at < ours.length; at += vocab) {
    const top = topTwo(theirs.subarray(at, at + vocab));
    smallestGap = Math.min(smallestGap, top.gap);
    if (topTwo(ours.subarray(at, at + vocab)).id !== top.id) differentTop++;
  }
  return { positions: ids.length, max, rms: Math.sqrt(squares / ours.length), smallestGap, differentTop };
}

/** (ids.length, vocab) */
async function allLogits(
  model: CausalLm,
  ids: readonly number[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const cache = model.newCache();
  try {
    return await model.forwardAll(ids, cache, signal ? { signal } : {});
  } finally {
    cache.dispose();
  }
}

function topTwo(logits: Float32Array): { id: number; gap: number } {
  let id = 0;
  let first = Number.NEGATIVE_INFINITY;
  let second = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] > first) {
      second = first;
      first = logits[i];
      id = i;
    } else if (logits[i] > second) second = logits[i];
  }
  return { id, gap: first - second };
}
