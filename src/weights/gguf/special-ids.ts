/** Tokens of a GGUF file's vocabulary that mean something besides their text. */

import type { Metadata } from "./metadata.ts";

/** `tokenizer.ggml.token_type`; the same numbers as a sentencepiece model's. */
export const TOKEN = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Ends of a turn or text that a file names by their text alone; llama.cpp knows them so. */
const END_TEXTS: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|return|>",
  "<|call|>",
  "<end_of_turn>",
  "<end_of_utterance>",
  "<EOT>",
  "<｜end▁of▁sentence｜>",
]);

/** Ends of an answer and of a call in gpt-oss's format. */
const HARMONY = ["<|return|>", "<|call|>"];

/** Texts and types by id; undefined: the file has no vocabulary. @throws TacetError bad_checkpoint */
export function vocabularyOf(
  m: Metadata,
): { texts: readonly string[]; types: readonly number[] } | undefined {
  if (!m.has("tokenizer.ggml.tokens")) return undefined;
  const texts = m.list("tokenizer.ggml.tokens", "string");
  const types = m.has("tokenizer.ggml.token_type")
    ? m.list("tokenizer.ggml.token_type", "number", texts.length)
    : texts.map(() => TOKEN.normal);
  const odd = types.findIndex((type) => !Number.isInteger(type) || type < 0 || type > TOKEN.byte);
  if (odd >= 0)
    throw m.bad("tokenizer.ggml.token_type", `has the unknown type ${types[odd]} for token ${odd}`);
  return { texts, types };
}

export function specialId(m: Metadata, name: string): number | undefined {
  const tokens = m.value("tokenizer.ggml.tokens");
  return m.tokenId(`tokenizer.ggml.${name}_token_id`, Array.isArray(tokens) ? tokens.length : 2 ** 31);
}

/** Ids that end an answer: those that the file names, and control tokens that are known to. */
export function endIdsOf(m: Metadata): number[] {
  const named = ["eos", "eot", "eom"].flatMap((name) => specialId(m, name) ?? []);
  const { texts = [], types = [] } = vocabularyOf(m) ?? {};
  const known = texts.flatMap((text, id) => {
    const isSpecial = types[id] === TOKEN.control || types[id] === TOKEN.userDefined;
    return isSpecial && END_TEXTS.has(text) ? [id] : [];
  });
  const ends = new Set([...named, ...known]);
  // In gpt-oss's vocabulary it ends one message, of thoughts maybe, and the answer goes on.
  if (HARMONY.every((text) => known.some((id) => texts[id] === text))) ends.delete(texts.indexOf("<|end|>"));
  return [...ends];
}
