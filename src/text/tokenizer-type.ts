/** What a tokenizer is, whichever file it is made from. */

export interface EncodeOptions {
  readonly addSpecialTokens?: boolean;
  readonly atMost?: number | undefined;
}

export interface Tokenizer {
  /**
   * @param options addSpecialTokens: begin- and end-of-text tokens as the tokenizer's template says (default true);
   *   a text that begins with the begin token does not get it twice. atMost: tokens that the context has; a text that
   *   surely has more is refused before it is tokenized
   * @throws TacetError context_overflow with `atMost`; bad_tokenizer for characters that no token expresses
   */
  encode(text: string, options?: EncodeOptions): number[];
  /** @param options skipSpecialTokens: leave out control tokens (default true) */
  detokenize(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** The id of a whole token, such as "<|end|>". */
  idOf(token: string): number | undefined;
  /** Ids that end an answer. */
  readonly eosIds: readonly number[];
}
