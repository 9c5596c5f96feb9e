/**
 * A lower bound of the tokens of a text, in linear time: a text that surely does not fit a context is refused before
 * it is tokenized, which takes seconds a megabyte and holds up everything else in the process.
 *
 *   tokens ≥ length / longest                  no token covers more than the longest one of the vocabulary
 *   tokens ≥ letters / most letters            the same for ASCII's letters and digits alone: long tokens are mostly
 *                                              white space and punctuation
 *   tokens ≥ (beginnings + 1) / (inside + 1)   a beginning is white space with something else behind it; one that
 *                                              no token has inside is between two tokens
 */
import { TacetError } from "../base/errors.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";

export type LeastTokens = (text: string) => number;

/** Space, newline, tab and carriage return: as they are, as byte-level vocabularies and as sentencepiece write them. */
const BEGINNINGS = /[ \n\t\rĠĊĉč▁](?![ \n\t\rĠĊĉč▁]|$)/g;
/** None where the text itself has one of those letters. */
const TEXT_BEGINNINGS = /[ \n\t\r](?=[^ \n\t\rĠĊĉč▁])/g;

const LETTER = /[A-Za-z0-9]/g;

/** @param shrinks at most so many characters become one before the text is tokenized (NFC) */
export function leastTokensOf(vocabulary: Iterable<string>, shrinks = 1): LeastTokens {
  let longest = 1;
  let mostLetters = 1;
  let inside = 1;
  for (const token of vocabulary) {
    longest = Math.max(longest, token.length);
    mostLetters = Math.max(mostLetters, count(LETTER, token));
    inside = Math.max(inside, count(BEGINNINGS, token));
  }
  return (text) => {
    const bounds = [text.length / longest / shrinks];
    // Counted only where it may matter: most texts are short.
    if (text.length >= 1_000) {
      bounds.push((count(TEXT_BEGINNINGS, text) + 1) / (inside + 1));
      // NFC makes other letters of them.
      if (shrinks === 1) bounds.push(count(LETTER, text) / mostLetters);
    }
    return Math.floor(Math.max(...bounds));
  };
}

function count(pattern: RegExp, text: string): number {
  return text.match(pattern)?.length ?? 0;
}

/** Characters of a text that NFC makes one of, at most. */
const NFC_SHRINKS = 4;

/** For a tokenizer.json; undefined where nothing is sure: the text may shrink, or one token may cover any of it. */
export function leastTokensOfDefinition(definition: JsonRecord): LeastTokens | undefined {
  const { model, normalizer, pre_tokenizer: preTokenizer, added_tokens: added } = definition;
  if (!isRecord(model) || model.type !== "BPE" || !isRecord(model.vocab)) return undefined;
  const anyBytes =
    model.byte_fallback === true || JSON.stringify(preTokenizer ?? null).includes('"ByteLevel"');
  if (model.fuse_unk === true && !anyBytes) return undefined;
  const shrinks = shrinkOf(normalizer);
  if (shrinks === undefined || !keepsAll(preTokenizer)) return undefined;
  const special = Array.isArray(added) ? added.flatMap((token) => (isRecord(token) ? [token] : [])) : [];
  // Such a token takes the white space beside it, as much as there is.
  if (special.some(({ lstrip, rstrip }) => lstrip === true || rstrip === true)) return undefined;
  const contents = special.flatMap(({ content }) => (typeof content === "string" ? [content] : []));
  return leastTokensOf([...Object.keys(model.vocab), ...contents], shrinks);
}

/** Whether all of a text comes out of a pre-tokenizer: some drop the white space. */
function keepsAll(step: unknown): boolean {
  if (step === null || step === undefined) return true;
  if (!isRecord(step)) return false;
  if (step.type === "Sequence")
    return Array.isArray(step.pretokenizers) && step.pretokenizers.every(keepsAll);
  if (step.type === "Split" || step.type === "Punctuation") return step.behavior !== "Removed";
  return step.type === "ByteLevel" || step.type === "Metaspace" || step.type === "Digits";
}

function shrinkOf(normalizer: unknown): number | undefined {
  if (normalizer === null || normalizer === undefined) return 1;
  if (!isRecord(normalizer)) return undefined;
  switch (normalizer.type) {
    case "NFC":
      return NFC_SHRINKS;
    case "Prepend":
      return 1;
    case "Replace":
      return isRecord(normalizer.pattern) && normalizer.pattern.String === " " && normalizer.content === "▁"
        ? 1
        : undefined;
    case "Sequence": {
      if (!Array.isArray(normalizer.normalizers)) return undefined;
      const each = normalizer.normalizers.map(shrinkOf);
      return each.every((shrinks) => shrinks !== undefined) ? each.reduce((a, b) => a! * b!, 1) : undefined;
    }
  }
  return undefined;
}

/** @throws TacetError context_overflow if a text surely has more tokens than that */
export function refuseTooLong(
  text: string,
  least: LeastTokens | undefined,
  atMost: number | undefined,
): void {
  if (least === undefined || atMost === undefined) return;
  const tokens = least(text);
  if (tokens <= atMost) return;
  throw new TacetError(
    "context_overflow",
    `the prompt has at least ${tokens} tokens, and the model's context ${atMost}`,
    {
      hint: "shorten the conversation, or load the model with a larger contextLength",
    },
  );
}
