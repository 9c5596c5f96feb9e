/** Text ↔ token ids, from the checkpoint's tokenizer.json. */

import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";

export interface Tokenizer {
  /** @param options addSpecialTokens: begin- and end-of-text tokens as the tokenizer's template says (default true) */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** @param options skipSpecialTokens: leave out control tokens (default true) */
  detokenize(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** The id of a whole token, such as "<|end|>". */
  idOf(token: string): number | undefined;
  /** Ids that end an answer. */
  readonly eosIds: readonly number[];
}

/** @throws TacetError bad_tokenizer if the checkpoint has none or it cannot be used */
export async function loadTokenizer(checkpoint: Checkpoint): Promise<Tokenizer> {
  const definition = await checkpoint.json("tokenizer.json");
  if (definition === undefined) {
    throw new TacetError("bad_tokenizer", `${checkpoint.tree.label} has no tokenizer.json`, {
      hint: "give token ids with --ids, or add the model's tokenizer.json to the folder",
    });
  }
  const settings = (await checkpoint.json("tokenizer_config.json")) ?? {};
  if (!isRecord(definition) || !isRecord(settings)) throw unusable();
  const inner = create(definition, settings);
  const eosIds = await loadEosIds(checkpoint);
  const endToken = tokenText(settings.eos_token);
  const endId = endToken === undefined ? undefined : inner.token_to_id(endToken);
  return wrap(inner, eosIds.length > 0 || endId === undefined ? eosIds : [endId]);
}

/** End ids that generation_config.json gives, else config.json; empty if neither does. Needs no tokenizer. */
export async function loadEosIds(checkpoint: Checkpoint): Promise<readonly number[]> {
  const generation = await checkpoint.json("generation_config.json");
  for (const source of [generation, checkpoint.config]) {
    const value = isRecord(source) ? source.eos_token_id : undefined;
    const ids = (Array.isArray(value) ? value : [value]).filter((id) => Number.isInteger(id) && id >= 0);
    if (ids.length > 0) return ids;
  }
  return [];
}

/** A special token of tokenizer_config.json: a text, or an object with the text as its content. */
export function tokenText(value: unknown): string | undefined {
  const text = isRecord(value) ? value.content : value;
  return typeof text === "string" ? text : undefined;
}

/** What is used of the library, whose own declarations do not resolve under NodeNext. */
interface InnerTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

function create(definition: JsonRecord, settings: JsonRecord): InnerTokenizer {
  try {
    return new HuggingFaceTokenizer(definition, settings);
  } catch (cause) {
    throw unusable(cause);
  }
}

function unusable(cause?: unknown): TacetError {
  return new TacetError("bad_tokenizer", "tokenizer.json or tokenizer_config.json cannot be used", {
    hint: "download both files again; --ids works without a tokenizer",
    cause,
  });
}

function wrap(inner: InnerTokenizer, eosIds: readonly number[]): Tokenizer {
  return {
    eosIds,
    idOf: (token) => inner.token_to_id(token),
    encode(text, { addSpecialTokens = true } = {}) {
      const { ids } = inner.encode(text, { add_special_tokens: addSpecialTokens });
      // A tokenizer without an unknown token has no id for what its vocabulary does not cover.
      if (ids.every((id) => id !== undefined)) return ids;
      throw new TacetError(
        "bad_tokenizer",
        "the text has characters that the model's tokenizer cannot express",
      );
    },
    detokenize(ids, { skipSpecialTokens = true } = {}) {
      // Ids past the vocabulary (padded embeddings have some) stand for no text.
      const known = ids.filter((id) => inner.id_to_token(id) !== undefined);
      if (known.length === 0) return "";
      return inner.decode(known, {
        skip_special_tokens: skipSpecialTokens,
        // The clean-up takes spaces before punctuation away: meant for BERT, and wrong for byte-exact vocabularies.
        clean_up_tokenization_spaces: false,
      });
    },
  };
}
