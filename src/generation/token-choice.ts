/** How a request chooses its tokens: by penalties, sampling options and the random numbers of its seed. */

import { LogitPenalties, type PenaltyOptions } from "./logit-penalties.ts";
import { type SampleOptions, sampleToken } from "./sample-token.ts";
import { randomSeed, tokenDraw } from "./token-draw.ts";

/** How the next token is chosen. Defaults of a checkpoint and wishes of a user can be spread over one another. */
export interface SamplingOptions extends SampleOptions, PenaltyOptions {
  /**
   * The same draws for the same seed, wherever in a context an answer begins: an integer of at most 53 bits. Default: a
   * random one.
   */
  readonly seed?: number;
}

export class TokenChoice {
  readonly #options: SamplingOptions;
  readonly #penalties: LogitPenalties;
  readonly #seed: number;
  #position: number;

  /**
   * @param position tokens of the context
   * @param ids those of them that penalties are to know
   */
  constructor(options: SamplingOptions, position: number, ids: readonly number[]) {
    this.#options = options;
    this.#penalties = new LogitPenalties(options, ids);
    this.#seed = options.seed ?? randomSeed();
    this.#position = position;
  }

  /**
   * The token that logits give, if `ahead` came before it.
   * @throws TacetError bad_checkpoint if a logit is NaN or none is finite
   */
  choose(logits: Float32Array, ahead: readonly number[] = []): number {
    const draw = tokenDraw(this.#seed, this.#position + ahead.length);
    return sampleToken(this.#penalties.apply(logits, ahead), this.#options, draw);
  }

  /** A token that came. */
  push(id: number): void {
    this.#penalties.push(id);
    this.#position++;
  }
}
