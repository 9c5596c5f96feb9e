/**
 * Scores of accounts, and how improbable they are for one that has nothing to do with the copy.
 *
 *   S = Σ y·(b − p)/√(p(1 − p)),  b = 1 where the account's sign is plus, p its odds
 *
 * Of an innocent account b is 1 with probability p whatever y is, so S has mean 0 and variance Σ y²: the score is
 * S/√(Σ y²), in standard deviations. Its weights are Tardos' (J. ACM 55, 2008), symmetric as in B. Škorić, S. Katzenbeisser
 * and M. Celik, "Symmetric Tardos fingerprinting codes for arbitrary alphabet sizes" (2008).
 */

/** Signs with their odds, of 16, and y. */
export interface ScoredGroup {
  readonly y: Float32Array;
  readonly odds: Uint8Array;
}

const ODDS_OF = 16;

/** What a plus and a minus add to S, by odds. */
const STEPS = Array.from({ length: ODDS_OF + 1 }, (_, odds) => {
  const p = odds / ODDS_OF;
  const deviation = Math.sqrt(p * (1 - p));
  return { plus: (1 - p) / deviation, minus: -p / deviation };
});

/** @param marks D, of the same shape as y @returns what the group adds to S */
export function groupScore({ y, odds }: ScoredGroup, marks: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < y.length; i++) {
    const { plus, minus } = STEPS[odds[i]];
    sum += y[i] * (marks[i] > 0 ? plus : minus);
  }
  return sum;
}

/** Σ y² */
export function variance(groups: readonly ScoredGroup[]): number {
  let sum = 0;
  for (const { y } of groups) for (const value of y) sum += value * value;
  return sum;
}

/**
 * log₁₀ of a bound on the probability that an innocent account reaches S: Chernoff's,
 *
 *   P(S ≥ s) ≤ min_λ exp(Σ log(p·e^{λ·y·plus} + (1 − p)·e^{λ·y·minus}) − λ·s),
 *
 * which holds exactly, without an approximation by a normal distribution. 0 for s ≤ 0.
 */
export function log10Innocent(groups: readonly ScoredGroup[], s: number): number {
  const total = variance(groups);
  if (!(s > 0) || total === 0) return 0;
  const exponent = (lambda: number) => cumulant(groups, lambda) - lambda * s;
  // Any λ gives a bound. The best one is near s/Σy², where a normal distribution would have it.
  const best = Math.min(...LAMBDAS.map((factor) => exponent((factor * s) / total)));
  return Math.min(0, best) / Math.LN10;
}

const LAMBDAS = [0.5, 0.7, 0.85, 1, 1.2, 1.5];

function cumulant(groups: readonly ScoredGroup[], lambda: number): number {
  let sum = 0;
  for (const { y, odds } of groups) {
    for (let i = 0; i < y.length; i++) {
      if (y[i] === 0) continue;
      const { plus, minus } = STEPS[odds[i]];
      const p = odds[i] / ODDS_OF;
      const t = lambda * y[i];
      // Around the larger exponent, so that nothing overflows.
      const [a, b] = [t * plus, t * minus];
      const top = Math.max(a, b);
      sum += top + Math.log(p * Math.exp(a - top) + (1 - p) * Math.exp(b - top));
    }
  }
  return sum;
}
