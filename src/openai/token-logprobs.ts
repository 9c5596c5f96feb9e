/** Log-probabilities with the texts of their tokens, as OpenAI's answers have them. */

import type { AnswerEnd, AnswerPiece } from "../generation/answer-stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

export interface TokenEntry {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8 of the token; null for one that holds a part of a character. */
  readonly bytes: readonly number[] | null;
}

export interface ChosenEntry extends TokenEntry {
  readonly top: readonly TokenEntry[];
  /** UTF-16 units of the answer's tokens before it. */
  readonly offset: number;
}

/** JSON has no minus infinity; OpenAI writes this for what cannot come. */
const IMPOSSIBLE = -9999;

/**
 * Gives the entries of tokens together with the text that they made certain: those of a stop string, which is no part
 * of the answer, do not come out, nor does the end token.
 */
export class TokenLogprobs {
  readonly #tokenizer: Tokenizer;
  readonly #endIds: readonly number[];
  #previous: number;
  #held: ChosenEntry[] = [];
  /** UTF-16 units of the tokens so far. */
  #offset = 0;
  /** UTF-16 units of the text that is certain. */
  #certain = 0;
  #withinCharacter = false;

  /** @param endIds that may end the answer */
  constructor(tokenizer: Tokenizer, lastPromptId: number, endIds: readonly number[] = tokenizer.eosIds) {
    this.#tokenizer = tokenizer;
    this.#endIds = endIds;
    this.#previous = lastPromptId;
  }

  /** The tokens that this piece's text has reached. */
  push({ text, token }: AnswerPiece): readonly ChosenEntry[] {
    this.#certain += text.length;
    if (token?.logprobs !== undefined && !this.#endIds.includes(token.id)) {
      const { top, ...chosen } = token.logprobs;
      const entry = this.#entry(chosen);
      this.#held.push({ ...entry, top: top.map((each) => this.#entry(each)), offset: this.#offset });
      this.#previous = token.id;
      // The tokens of one character count once.
      if (entry.bytes !== null || !this.#withinCharacter) this.#offset += entry.token.length;
      this.#withinCharacter = entry.bytes === null;
    }
    if (text === "") return [];
    const behind = this.#held.findIndex(({ offset }) => offset >= this.#certain);
    return this.#held.splice(0, behind < 0 ? this.#held.length : behind);
  }

  /** What goes with the answer's end. */
  finish({ reason }: AnswerEnd): readonly ChosenEntry[] {
    const rest = this.#held.splice(0);
    return reason === "stop" ? [] : rest;
  }

  #entry({ id, logprob }: { readonly id: number; readonly logprob: number }): TokenEntry {
    const token = this.#textOf(id);
    return {
      token,
      logprob: Math.max(logprob, IMPOSSIBLE),
      bytes: token.includes("\ufffd") ? null : [...new TextEncoder().encode(token)],
    };
  }

  /** A token's text behind the one before it: some tokenizers drop the space that a text begins with. */
  #textOf(id: number): string {
    const textOf = (ids: readonly number[]): string =>
      this.#tokenizer.detokenize(ids, { skipSpecialTokens: false });
    const before = textOf([this.#previous]);
    const both = textOf([this.#previous, id]);
    return both.startsWith(before) && !before.includes("\ufffd") ? both.slice(before.length) : textOf([id]);
  }
}

export function chatLogprobs(entries: readonly ChosenEntry[]): unknown {
  return {
    content: entries.map(({ token, logprob, bytes, top }) => ({ token, logprob, bytes, top_logprobs: top })),
    refusal: null,
  };
}

export function completionLogprobs(entries: readonly ChosenEntry[]): unknown {
  return {
    tokens: entries.map(({ token }) => token),
    token_logprobs: entries.map(({ logprob }) => logprob),
    top_logprobs: entries.map(({ top }) =>
      Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: entries.map(({ offset }) => offset),
  };
}
