/** Text ↔ token ids, from the checkpoint's tokenizer.json, or from its tokenizer.model where it has only that. */

import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import { baseEosIds, withAdapterEnds } from "./end-ids.ts";
import { type LeastTokens, leastTokensOfDefinition, refuseTooLong } from "./least-tokens.ts";
import { loadSentencePieceTokenizer, SENTENCEPIECE_FILE } from "./sentencepiece-tokenizer.ts";
import { tokenText } from "./special-tokens.ts";
import { withAddedTokens, withConfiguredEnds } from "./tokenizer-definition.ts";
import type { EncodeOptions, Tokenizer } from "./tokenizer-type.ts";

const DEFINITION = "tokenizer.json";

export type { EncodeOptions, Tokenizer };

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
  return wrap(inner, withAdapterEnds(ends, checkpoint), idOf("bos_token"), {
    least: leastTokensOfDefinition(definition),
    byteFallback: JSON.stringify(definition.decoder ?? null).includes('"ByteFallback"'),
  });
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
    const tokenizer = new HuggingFaceTokenizer(definition, settings);
    splitAtUnicodeSpaces(tokenizer.pre_tokenizer);
    return tokenizer;
  } catch (cause) {
    throw unusable(cause);
  }
}

/**
 * GPT-2's own split, which the library's byte-level pre-tokenizer has built in with JavaScript's \s: that has U+FEFF
 * and lacks U+0085. Expressions of the file get Unicode's white space from the library; this one gets it here.
 */
const GPT2_SPLIT =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** @param step a pre-tokenizer of the library, or a sequence with a list of them */
function splitAtUnicodeSpaces(step: unknown): void {
  if ((typeof step !== "object" && typeof step !== "function") || step === null) return;
  if ("use_regex" in step && "pattern" in step) step.pattern = GPT2_SPLIT;
  for (const parts of Object.values(step)) if (Array.isArray(parts)) parts.forEach(splitAtUnicodeSpaces);
}

function unusable(cause?: unknown): TacetError {
  return new TacetError("bad_tokenizer", "tokenizer.json or tokenizer_config.json cannot be used", {
    hint: "download both files again; --ids works without a tokenizer",
    cause,
  });
}

/** What is known of tokenizer.json besides what the library does. */
interface TokenizerFacts {
  readonly least: LeastTokens | undefined;
  /** Whether bytes that have no token are written as <0x00> to <0xFF>. */
  readonly byteFallback: boolean;
}

function wrap(
  inner: InnerTokenizer,
  eosIds: readonly number[],
  bosId: number | undefined,
  definition: TokenizerFacts,
): Tokenizer {
  const mark = ["<0xEF>", "<0xBB>", "<0xBF>"].map((token) => inner.token_to_id(token));
  const isByte = (id: number | undefined): boolean =>
    id !== undefined && /^<0x[0-9A-F]{2}>$/.test(inner.id_to_token(id) ?? "");
  /** The library takes a byte order mark at the beginning of bytes for none of the text: of two, one stays. */
  const keepMarks = (ids: number[]): number[] =>
    ids.flatMap((id, i) =>
      id === mark[0] && ids[i + 1] === mark[1] && ids[i + 2] === mark[2] && !isByte(ids[i - 1])
        ? [...(mark as number[]), id]
        : [id],
    );
  return {
    eosIds,
    idOf: (token) => inner.token_to_id(token),
    encode(text, { addSpecialTokens = true, atMost } = {}) {
      refuseTooLong(text, definition.least, atMost);
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
      return inner.decode(definition.byteFallback ? keepMarks(known) : known, {
        skip_special_tokens: skipSpecialTokens,
        // The clean-up takes spaces before punctuation away: meant for BERT, and wrong for byte-exact vocabularies.
        clean_up_tokenization_spaces: false,
      });
    },
  };
}
