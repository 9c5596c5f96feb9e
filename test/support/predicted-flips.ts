/**
 * How many likeliest tokens an error of the logits is to be expected to turn, and by what margins. The error of each logit
 * is taken for a Gaussian number of standard deviation s, independent of the others: the distance of the likeliest token
 * to another one then errs by σ = √2·s, and is turned with probability Q(margin/σ).
 */
import { normalTail, poissonQuantile } from "./student.ts";

/** How often a limit fails though everything is as predicted. */
export const FALSE_ALARM = 1e-6;

export class PredictedFlips {
  /** Rows whose likeliest token is turned: the sum of the chances of all others to be in front. */
  readonly expected: number;
  /** rms of the logits' error over that of the logits about their mean. */
  readonly relativeError: number;
  readonly #rows: readonly Float32Array[];
  readonly #spread: number;

  /** @param rows exact logits (vocab) of each step */
  constructor(rows: readonly Float32Array[], relativeError: number) {
    this.#rows = rows;
    this.relativeError = relativeError;
    const squares = rows.map((row) => {
      const mean = row.reduce((sum, value) => sum + value) / row.length;
      return row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    });
    this.#spread = Math.sqrt(squares.reduce((sum, square) => sum + square) / rows.length);
    this.expected = rows.reduce((sum, row) => sum + this.#chance(row), 0);
  }

  /** The most rows that may be turned. */
  get most(): number {
    return poissonQuantile(this.expected, FALSE_ALARM);
  }

  /** What no margin that is turned reaches, in σ: so large an error has none of the distances, but for a run in a million. */
  get marginLimit(): number {
    const distances = this.#rows.reduce((sum, row) => sum + row.length - 1, 0);
    let limit = 0;
    while (distances * normalTail(limit) > FALSE_ALARM) limit += 0.01;
    return limit;
  }

  /** @returns of each row that was turned the margin in σ by which the likeliest token was in front of the one that is now */
  compare(got: readonly Float32Array[]): { readonly margins: number[]; readonly relativeError: number } {
    let error = 0;
    const margins = this.#rows.flatMap((row, i) => {
      for (const [k, value] of row.entries()) error += (got[i][k] - value) ** 2 / row.length;
      const [before, now] = [largest(row), largest(got[i])];
      return before === now ? [] : [(row[before] - row[now]) / this.#sigma];
    });
    return { margins, relativeError: Math.sqrt(error / this.#rows.length) / this.#spread };
  }

  get #sigma(): number {
    return Math.SQRT2 * this.relativeError * this.#spread;
  }

  #chance(row: Float32Array): number {
    const first = largest(row);
    const others = row.reduce(
      (sum, value, id) => sum + (id === first ? 0 : normalTail((row[first] - value) / this.#sigma)),
      0,
    );
    return Math.min(1, others);
  }
}

function largest(row: Float32Array): number {
  return row.reduce((best, value, id) => (value > row[best] ? id : best), 0);
}
