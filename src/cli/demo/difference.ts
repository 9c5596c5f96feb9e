/** Where a private answer differs from the plaintext adapter's, and whether errors of the private results explain it. */
import type { CausalLm } from "../../model/causal-lm.ts";
import { compareLogits, type LogitError } from "../logits/compare-logits.ts";

export interface Difference {
  /** Between the two ids that were chosen, in plaintext's logits. */
  readonly gap: number;
  /** Of the logits up to there. */
  readonly error: LogitError;
}

/**
 * Limits for the embedded model, by the noise that is predicted for it; test/e2e/private-equals-plaintext.test.ts
 * compares them. The error of a gap between two logits has a standard deviation of 0.09 at most: one of 0.7 is closed
 * by it less than once in 10^9 places. The largest error of a logit over 24 answers is 0.21 on the average, with a
 * standard deviation of 0.03: that of one answer exceeds 0.7 less than once in 10^9 runs. So a demo of some answers
 * fails on a healthy installation less than once in a million runs.
 */
export const MOST_GAP = 0.7;
export const MOST_ERROR = 0.7;

/** Whether two tokens were so nearly as likely that the errors may have decided between them. */
export const isNearTie = ({ gap, error }: Difference): boolean => gap < MOST_GAP && error.max < MOST_ERROR;

/**
 * @param ids what both models answered; not the same
 */
export async function differenceOf(
  privately: CausalLm,
  plaintext: CausalLm,
  promptIds: readonly number[],
  ids: { readonly private: readonly number[]; readonly plaintext: readonly number[] },
  signal: AbortSignal,
): Promise<Difference> {
  const step = ids.plaintext.findIndex((id, i) => id !== ids.private[i]);
  // One of the two ends early: no tie explains that.
  if (step < 0 || step >= ids.private.length) {
    const read = [...promptIds, ...ids.plaintext];
    return {
      gap: Number.POSITIVE_INFINITY,
      error: await compareLogits(privately, plaintext, read, signal),
    };
  }
  const read = [...promptIds, ...ids.plaintext.slice(0, step)];
  const cache = plaintext.newCache();
  try {
    const logits = await plaintext.forward(read, cache, { signal });
    const gap = Math.abs(logits[ids.plaintext[step]] - logits[ids.private[step]]);
    return { gap, error: await compareLogits(privately, plaintext, read, signal) };
  } finally {
    cache.dispose();
  }
}
