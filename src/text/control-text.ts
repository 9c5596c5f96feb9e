/** Tokens that stand for no text. */

import type { Tokenizer } from "./tokenizer.ts";

/** How a token is written that shown text leaves out, such as "<|end|>"; undefined for every other one. */
export function controlTextOf(tokenizer: Tokenizer, id: number): string | undefined {
  if (tokenizer.detokenize([id]) !== "") return undefined;
  const text = tokenizer.detokenize([id], { skipSpecialTokens: false });
  return text === "" ? undefined : text;
}
