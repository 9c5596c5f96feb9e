/** A tokenizer as a GGUF file's metadata, as llama.cpp's converter writes it. */
import { parseSentencePieceModel, PIECE } from "../../src/text/sentencepiece/model-file.ts";
import type { GgufValue } from "./write-gguf.ts";

type Json = Readonly<Record<string, unknown>>;

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/**
 * Of a byte-level BPE tokenizer.json.
 *
 * @param pre the name of its split, which the file itself does not say
 * @param settings tokenizer_config.json
 */
export function bpeMetadata(definition: Json, settings: Json, pre: string): Record<string, GgufValue> {
  const { vocab, merges } = definition.model as {
    vocab: Record<string, number>;
    merges: (string | string[])[];
  };
  const added = (definition.added_tokens ?? []) as AddedToken[];
  const tokens: string[] = [];
  const types: number[] = [];
  for (const [text, id] of Object.entries(vocab)) [tokens[id], types[id]] = [text, PIECE.normal];
  for (const { id, content, special } of added)
    [tokens[id], types[id]] = [content, special ? PIECE.control : PIECE.userDefined];
  for (let id = 0; id < tokens.length; id++) {
    if (tokens[id] === undefined) [tokens[id], types[id]] = [`[PAD${id}]`, PIECE.unused];
  }
  return {
    "tokenizer.ggml.model": ["string", "gpt2"],
    "tokenizer.ggml.pre": ["string", pre],
    "tokenizer.ggml.tokens": ["string[]", tokens],
    "tokenizer.ggml.token_type": ["int32[]", types],
    "tokenizer.ggml.merges": [
      "string[]",
      merges.map((pair) => (typeof pair === "string" ? pair : pair.join(" "))),
    ],
    ...settingsMetadata(settings, (text) => tokens.indexOf(text)),
  };
}

/** Of a sentencepiece tokenizer.model. */
export function sentencePieceMetadata(model: Uint8Array, settings: Json = {}): Record<string, GgufValue> {
  const { pieces, unkId, bosId, eosId, addDummyPrefix, removeExtraWhitespaces } = parseSentencePieceModel(
    model,
    "tokenizer.model",
  );
  return {
    "tokenizer.ggml.model": ["string", "llama"],
    "tokenizer.ggml.pre": ["string", "default"],
    "tokenizer.ggml.tokens": ["string[]", pieces.map(({ text }) => text)],
    "tokenizer.ggml.scores": ["float32[]", pieces.map(({ score }) => score)],
    "tokenizer.ggml.token_type": ["int32[]", pieces.map(({ type }) => type)],
    "tokenizer.ggml.unknown_token_id": ["uint32", unkId],
    ...(bosId < 0 ? {} : { "tokenizer.ggml.bos_token_id": ["uint32", bosId] }),
    ...(eosId < 0 ? {} : { "tokenizer.ggml.eos_token_id": ["uint32", eosId] }),
    "tokenizer.ggml.add_space_prefix": ["bool", addDummyPrefix],
    ...(removeExtraWhitespaces ? { "tokenizer.ggml.remove_extra_whitespaces": ["bool", true] } : {}),
    ...settingsMetadata(settings, (text) => pieces.findIndex((piece) => piece.text === text)),
  };
}

function settingsMetadata(settings: Json, idOf: (text: string) => number): Record<string, GgufValue> {
  const values: Record<string, GgufValue> = {};
  for (const [field, key] of [
    ["bos_token", "bos"],
    ["eos_token", "eos"],
    ["pad_token", "padding"],
  ]) {
    const text = settings[field];
    if (typeof text === "string") values[`tokenizer.ggml.${key}_token_id`] = ["uint32", idOf(text)];
  }
  for (const flag of ["add_bos_token", "add_eos_token"]) {
    if (typeof settings[flag] === "boolean") values[`tokenizer.ggml.${flag}`] = ["bool", settings[flag]];
  }
  if (typeof settings.chat_template === "string")
    values["tokenizer.chat_template"] = ["string", settings.chat_template];
  return values;
}
