/**
 * What a dictionary model is asked. Such a model was trained on single lower-case words and answers anything else with
 * nonsense, so a question about one word is taken as that word. Whoever uses this shows the word that was asked.
 */

/** "What is a X", "what does X mean", "define X", "the meaning of X": the word stands between the two. */
const ASKED = [
  /^what(?:'s| is| are| does| do)\s+(?:the\s+(?:word|term)\s+)?(?:an?\s+|the\s+)?(.+?)(?:\s+means?|\s+stand for)?$/u,
  /^(?:please\s+)?(?:define|explain|look up):?\s+(?:the\s+(?:word|term)\s+)?(?:an?\s+|the\s+)?(.+)$/u,
  /^(?:what(?:'s| is)\s+)?(?:the\s+)?(?:meaning|definition)\s+of\s+(?:the\s+(?:word|term)\s+)?(?:an?\s+|the\s+)?(.+)$/u,
];

export interface Headword {
  /** What the model is asked. */
  readonly text: string;
  /** Whether that is one word, the only thing such a model knows. */
  readonly isOneWord: boolean;
}

/** @param question as it was typed, with capital letters, quotes and a question mark or without */
export function headwordOf(question: string): Headword {
  let text = bare(question.normalize("NFC").replaceAll("\u2019", "'").toLowerCase());
  // The last form first: "what is the meaning of X" is also of the first.
  for (const form of ASKED.toReversed()) {
    const word = form.exec(text)?.[1];
    // More than one word is no question about a word.
    if (word !== undefined && !/\s/.test(bare(word))) text = bare(word);
  }
  // Nothing but signs: as it was typed.
  if (text === "") text = question.trim();
  return { text, isOneWord: !/\s/.test(text) };
}

/** Without quotes, marks and spaces around it; a sign within a word stays. */
function bare(text: string): string {
  return text.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "").replace(/\s+/gu, " ");
}
