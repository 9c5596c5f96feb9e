/** Text ↔ token ids, from the checkpoint's tokenizer.json, or from its tokenizer.model where it has only that. */

import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import { baseEosIds, withAdapterEnds } from "./end-ids.ts";
import { loadSentencePieceTokenizer, SENTENCEPIECE_FILE } from "./sentencepiece-tokenizer.ts";
import { tokenText } from "./special-tokens.ts";
import type { Tokenizer } from "./tokenizer-type.ts";
import { withAddedTokens, withConfiguredEnds } from "./tokenizer-definition.ts";

const DEFINITION = "tokenizer.json";

export type { Tokenizer };

/** Whether the checkpoint has a tokenizer that {@link loadTokenizer} reads. */
export async function hasTokenizer({ tree }: Checkpoint): Promise<boolean> {
  return (await tree.size(DEFINITION)) !== undefined || (await tree.size(SENTENCEPIECE_FILE)) !== undefined;
}

/** @throws TacetError bad_tokenizer if the checkpoint has none or it cannot be used */
export async function loadTokenizer(checkpoint: Checkpoint): Promise<Tokenizer> {
  if (!(await hasTokenizer(checkpoint))) {
    throw new TacetError(
      "bad_tokenizer",
      `${checkpoint.tree.label} has neither ${DEFINITION} nor ${SENTENCEPIECE_FILE}`,
      {
        hint: "give token ids with --ids, or add the model's tokenizer.json or tokenizer.model to the folder",
      },
    );
  }
  const definition = await checkpoint.json(DEFINITION);
  const settings = (await checkpoint.json("tokenizer_config.json")) ?? {};
  if (!isRecord(settings)) throw unusable();
  const eosIds = await baseEosIds(checkpoint);
  if (definition === undefined) return await loadSentencePieceTokenizer(checkpoint, settings, eosIds);
  if (!isRecord(definition)) throw unusable();
  const { addedTokens = [] } = checkpoint.adapterText ?? {};
  const whole = withAddedTokens(withConfiguredEnds(definition, settings), addedTokens);
  const inner = create(whole, settings);
  const idOf = (name: string) => {
    const token = tokenText(settings[name]);
    return token === undefined ? undefined : inner.token_to_id(token);
  };
  const endId = idOf("eos_token");
  const ends = eosIds.length > 0 || endId === undefined ? eosIds : [endId];
  return wrap(inner, withAdapterEnds(ends, checkpoint), idOf("bos_token"));
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

function wrap(inner: InnerTokenizer, eosIds: readonly number[], bosId: number | undefined): Tokenizer {
  return {
    eosIds,
    idOf: (token) => inner.token_to_id(token),
    encode(text, { addSpecialTokens = true } = {}) {
      const { ids } = inner.encode(text, { add_special_tokens: addSpecialTokens });
      // A tokenizer without an unknown token has no id for what its vocabulary does not cover.
      if (ids.every((id) => id !== undefined)) {
        // A text that brings its own begin token does not get a second one.
        const twice = addSpecialTokens && bosId !== undefined && ids[0] === bosId && ids[1] === bosId;
        return twice ? ids.slice(1) : ids;
      }
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
