/** tokenizer.json as other files want it: with begin and end of text, and with an adapter's control tokens. */

import type { AddedControlToken } from "../weights/adapter-text.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import { tokenText } from "./special-tokens.ts";

/**
 * Classes of transformers that make the template again from `add_bos_token` and `add_eos_token` (4.57,
 * `update_post_processor` of their fast tokenizers); all others follow tokenizer.json alone. The files that have these
 * fields were written for them: 5.x takes such a tokenizer.json as it is.
 */
const WITH_FLAGS = /^(?:Llama|CodeLlama|Gemma|Cohere)Tokenizer(?:Fast)?$/;

/**
 * The definition with the begin and end tokens that tokenizer_config.json says a text has, where it says so. A token
 * that is not named or not known is left out.
 */
export function withConfiguredEnds(definition: JsonRecord, settings: JsonRecord): JsonRecord {
  const { tokenizer_class: name, add_bos_token: begin, add_eos_token: end } = settings;
  if (typeof begin !== "boolean" && typeof end !== "boolean") return definition;
  if (typeof name !== "string" || !WITH_FLAGS.test(name)) return definition;
  const bos = begin === false ? undefined : specialToken(definition, settings.bos_token);
  const eos = end === true ? specialToken(definition, settings.eos_token) : undefined;
  const piece = (token: { text: string } | undefined, type: number) =>
    token === undefined ? [] : [{ SpecialToken: { id: token.text, type_id: type } }];
  const sequence = (id: string, type: number) => [
    ...piece(bos, type),
    { Sequence: { id, type_id: type } },
    ...piece(eos, type),
  ];
  const tokens = [bos, eos].filter((token) => token !== undefined);
  return {
    ...definition,
    post_processor: {
      type: "TemplateProcessing",
      single: sequence("A", 0),
      pair: [...sequence("A", 0), ...sequence("B", 1)],
      special_tokens: Object.fromEntries(
        tokens.map(({ text, id }) => [text, { id: text, ids: [id], tokens: [text] }]),
      ),
    },
  };
}

/** The definition with control tokens of an adapter, each instead of what was reserved at its id. */
export function withAddedTokens(definition: JsonRecord, added: readonly AddedControlToken[]): JsonRecord {
  if (added.length === 0) return definition;
  const ids = new Set<unknown>(added.map(({ id }) => id));
  const present = Array.isArray(definition.added_tokens) ? definition.added_tokens : [];
  const kept = present.filter((token) => !(isRecord(token) && ids.has(token.id)));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    ...definition,
    added_tokens: [...kept, ...added.map(({ id, text }) => ({ id, content: text, ...flags }))],
  };
}

function specialToken(definition: JsonRecord, value: unknown): { text: string; id: number } | undefined {
  const text = tokenText(value);
  if (text === undefined) return undefined;
  const added = Array.isArray(definition.added_tokens) ? definition.added_tokens : [];
  const found = added.find((token) => isRecord(token) && token.content === text) as JsonRecord | undefined;
  const model = isRecord(definition.model) ? definition.model : {};
  const vocab = isRecord(model.vocab) ? model.vocab : {};
  const id = found?.id ?? (Object.hasOwn(vocab, text) ? vocab[text] : undefined);
  return typeof id === "number" ? { text, id } : undefined;
}
