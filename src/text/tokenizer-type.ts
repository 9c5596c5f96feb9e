/** What a tokenizer is, whichever file it is made from. */

export interface Tokenizer {
  /**
   * @param options addSpecialTokens: begin- and end-of-text tokens as the tokenizer's template says (default true);
   *   a text that begins with the begin token does not get it twice
   */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** @param options skipSpecialTokens: leave out control tokens (default true) */
  detokenize(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** The id of a whole token, such as "<|end|>". */
  idOf(token: string): number | undefined;
  /** Ids that end an answer. */
  readonly eosIds: readonly number[];
}
