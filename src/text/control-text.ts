/** Tokens that stand for no text. */

import type { Tokenizer } from "./tokenizer.ts";

/** How a token is written that shown text leaves out, such as "<|end|>"; undefined for every other one. */
export function controlTextOf(tokenizer: Tokenizer, id: number): string | undefined {
  if (tokenizer.detokenize([id]) !== "") return undefined;
  const text = tokenizer.detokenize([id], { skipSpecialTokens: false });
  return text === "" ? undefined : text;
}

/**
 * Whether a token stands for nothing that people write: the tokenizer marks it as special, and does not give it for
 * characters that it has no other token for. Its form is not asked: "[0]" and "<br>" are ordinary tokens of many.
 */
export function isControlToken(tokenizer: Tokenizer, id: number): boolean {
  return controlTextOf(tokenizer, id) !== undefined && !unknownIds(tokenizer).includes(id);
}

/** A character that is no letter of any language. */
const NOBODYS = "\u{10fffd}";

function unknownIds(tokenizer: Tokenizer): readonly number[] {
  try {
    return tokenizer.encode(NOBODYS, { addSpecialTokens: false });
  } catch {
    return []; // there is no token for it
  }
}
