/** How the embedded dictionary is talked to: it knows single words, and whoever asks is told what was looked up. */
import { headwordOf } from "../../text/headword.ts";
import { EMBEDDED_EXAMPLES } from "../shared/embedded.ts";

export const DICTIONARY_GREETING = `This model is a small dictionary: it says what one English word means, and knows nothing else. Type a word, such as ${EMBEDDED_EXAMPLES.slice(0, 2).join(", ")} or ${EMBEDDED_EXAMPLES[2]}.`;

export interface AskedWord {
  readonly text: string;
  /** What the user should know about it; empty: nothing. */
  readonly note: string;
}

export function askedWord(typed: string): AskedWord {
  const { text, isOneWord } = headwordOf(typed);
  if (!isOneWord) return { text, note: "This model knows single words only: do not trust this answer." };
  return { text, note: text === typed.trim() ? "" : `Looked up as "${text}".` };
}
