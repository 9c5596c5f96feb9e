/** Making tokens less likely that the context has already: what it was given, or what was generated. */

import { TacetError } from "../base/errors.ts";

export interface PenaltyOptions {
  /**
   * r of Keskar et al. (arXiv:1909.05858 §4.1) as Hugging Face applies it: for each id of prompt and answer,
   * logit / r where it is positive, logit·r where it is not. 1 or left out: none; below 1 such ids gain.
   */
  readonly repetitionPenalty?: number;
  /** As OpenAI defines it: taken off an id's logit once for each time it was generated. Default 0. */
  readonly frequencyPenalty?: number;
  /** As OpenAI defines it: taken off an id's logit if it was generated at all. Default 0. */
  readonly presencePenalty?: number;
}

/** @throws TacetError bad_argument for options out of range */
export function checkPenaltyOptions(options: PenaltyOptions): void {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  if (!(repetitionPenalty > 0 && repetitionPenalty < Number.POSITIVE_INFINITY))
    throw new TacetError("bad_argument", "the repetition penalty must be over 0");
  for (const [name, value] of [
    ["frequency", frequencyPenalty],
    ["presence", presencePenalty],
  ] as const) {
    if (value >= -2 && value <= 2) continue;
    throw new TacetError("bad_argument", `the ${name} penalty must be from -2 to 2`);
  }
}

/** The penalties of one answer, which learns what is generated. */
export class LogitPenalties {
  readonly #repetition: number;
  readonly #frequency: number;
  readonly #presence: number;
  /** Ids of prompt and answer. */
  readonly #seen: Set<number>;
  /** How often an id was generated. */
  readonly #counts = new Map<number, number>();

  /** @throws TacetError bad_argument for options out of range */
  constructor(options: PenaltyOptions, promptIds: readonly number[]) {
    checkPenaltyOptions(options);
    this.#repetition = options.repetitionPenalty ?? 1;
    this.#frequency = options.frequencyPenalty ?? 0;
    this.#presence = options.presencePenalty ?? 0;
    this.#seen = new Set(promptIds);
  }

  /** An id that was generated. */
  push(id: number): void {
    this.#seen.add(id);
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
  }

  /**
   * The logits with the penalties; the argument itself where there are none.
   * @param ahead ids as if they had been generated too
   */
  apply(logits: Float32Array, ahead: readonly number[] = []): Float32Array {
    const counted = this.#frequency !== 0 || this.#presence !== 0;
    if (this.#repetition === 1 && !counted) return logits;
    const out = logits.slice();
    if (this.#repetition !== 1) {
      for (const id of ahead.length === 0 ? this.#seen : new Set([...this.#seen, ...ahead])) {
        if (id < out.length) out[id] = out[id] > 0 ? out[id] / this.#repetition : out[id] * this.#repetition;
      }
    }
    if (counted) {
      for (const [id, count] of this.#countsWith(ahead)) out[id] -= count * this.#frequency + this.#presence;
    }
    return out;
  }

  #countsWith(ahead: readonly number[]): ReadonlyMap<number, number> {
    if (ahead.length === 0) return this.#counts;
    const counts = new Map(this.#counts);
    for (const id of ahead) counts.set(id, (counts.get(id) ?? 0) + 1);
    return counts;
  }
}
