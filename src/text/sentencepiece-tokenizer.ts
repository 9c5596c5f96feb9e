/**
 * A {@link Tokenizer} from `tokenizer.model`, for folders that have no tokenizer.json: special tokens are cut out of
 * the text first, as Hugging Face's tokenizers in Python do, and sentencepiece gets what is between.
 */

import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { type JsonRecord, refuseLfsPointer } from "../weights/json-file.ts";
import {
  CHATGLM_PREFIX,
  CHATGLM_TURN_ENDS,
  chatGlmTokens,
  hasRoleTokens,
  isChatGlm,
} from "./chatglm-text.ts";
import { withAdapterEnds } from "./end-ids.ts";
import { type LeastTokens, leastTokensOf, refuseTooLong } from "./least-tokens.ts";
import { MAX_MODEL_BYTES, PIECE } from "./sentencepiece/model-file.ts";
import { SentencePiece } from "./sentencepiece/sentencepiece.ts";
import {
  controlToken,
  readAddedTokens,
  type SpecialToken,
  splitAtSpecials,
  tokenText,
} from "./special-tokens.ts";
import type { Tokenizer } from "./tokenizer-type.ts";

export const SENTENCEPIECE_FILE = "tokenizer.model";

/**
 * @param settings tokenizer_config.json
 * @param configuredEosIds of generation_config.json or config.json; empty: the model's own
 * @throws TacetError bad_tokenizer if the file is damaged, too large or has an option that is not supported
 */
export async function loadSentencePieceTokenizer(
  checkpoint: Checkpoint,
  settings: JsonRecord,
  configuredEosIds: readonly number[],
): Promise<Tokenizer> {
  const piece = new SentencePiece(await readModel(checkpoint), SENTENCEPIECE_FILE);
  const chatGlm = isChatGlm(checkpoint);
  const own = chatGlm
    ? chatGlmTokens(piece.size, await hasRoleTokens(checkpoint, settings))
    : [...controlPieces(piece), ...(await readAddedTokens(checkpoint, settings))];
  const added = (checkpoint.adapterText?.addedTokens ?? []).map(({ text, id }) => controlToken(text, id));
  const specials = [...own.filter(({ id }) => !added.some((token) => token.id === id)), ...added];
  const idOf = new Map(specials.map(({ text, id }) => [text, id]));
  const idOfToken = (token: string) => idOf.get(token) ?? piece.idOf(token);
  const idOfSetting = (name: string, fallback: number) => {
    const text = tokenText(settings[name]);
    return (text === undefined ? undefined : idOfToken(text)) ?? fallback;
  };
  const { model } = piece;
  const bosId = idOfSetting("bos_token", model.bosId);
  const eosId = idOfSetting("eos_token", model.eosId);
  const prefix = chatGlm
    ? CHATGLM_PREFIX.map((token) => idOf.get(token)!)
    : settings.add_bos_token === false || bosId < 0
      ? []
      : [bosId];
  const suffix = !chatGlm && settings.add_eos_token === true && eosId >= 0 ? [eosId] : [];
  const ends = configuredEosIds.length > 0 ? configuredEosIds : eosId >= 0 ? [eosId] : [];
  const turnEnds = chatGlm ? CHATGLM_TURN_ENDS.flatMap((token) => idOf.get(token) ?? []) : [];
  return wrap(piece, specials, {
    prefix,
    suffix,
    eosIds: withAdapterEnds([...new Set([...ends, ...turnEnds])], checkpoint),
    least: leastOf(piece, specials),
    // Before "legacy" was settled, every stretch behind a special token began with an extra space.
    spaceBehindSpecials: settings.legacy !== false,
    spaceAtStart: settings.add_prefix_space !== false,
    idOf: idOfToken,
  });
}

/** Undefined where a text may shrink, or one token cover any of it. */
function leastOf(piece: SentencePiece, specials: readonly SpecialToken[]): LeastTokens | undefined {
  const { model } = piece;
  if (!model.byteFallback || model.removeExtraWhitespaces || model.charsMap.length > 0) return undefined;
  return leastTokensOf([...model.pieces.map(({ text }) => text), ...specials.map(({ text }) => text)]);
}

interface Habits {
  readonly least: LeastTokens | undefined;
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly eosIds: readonly number[];
  readonly spaceBehindSpecials: boolean;
  readonly spaceAtStart: boolean;
  idOf(token: string): number | undefined;
}

function wrap(piece: SentencePiece, specials: readonly SpecialToken[], habits: Habits): Tokenizer {
  const specialOf = new Map(specials.map((token) => [token.id, token]));
  const hidden = (id: number) => specialOf.get(id)?.control ?? isControl(piece, id);
  const encode = (text: string): number[] =>
    splitAtSpecials(text, specials).flatMap((stretch, i) => {
      if (typeof stretch !== "string") return [stretch.id];
      const dummyPrefix = habits.spaceAtStart && (i === 0 || habits.spaceBehindSpecials);
      return piece.encode(stretch, { dummyPrefix });
    });
  return {
    eosIds: habits.eosIds,
    idOf: habits.idOf,
    encode(text, { addSpecialTokens = true, atMost } = {}) {
      refuseTooLong(text, habits.least, atMost);
      const ids = encode(text);
      if (!addSpecialTokens) return ids;
      const begun = habits.prefix.length > 0 && habits.prefix.every((id, i) => ids[i] === id);
      return [...(begun ? [] : habits.prefix), ...ids, ...habits.suffix];
    },
    detokenize(ids, { skipSpecialTokens = true } = {}) {
      let text = "";
      let open: number[] = [];
      let first = true;
      const flush = () => {
        if (open.length === 0) return;
        text += piece.decode(open, { prefix: first ? "one" : "kept" });
        first = false;
        open = [];
      };
      for (const id of ids) {
        if (skipSpecialTokens && hidden(id)) continue;
        const special = specialOf.get(id);
        if (special === undefined) {
          // Ids past the vocabulary (padded embeddings have some) stand for no text.
          if (id < piece.size) open.push(id);
          continue;
        }
        flush();
        text += special.text;
        first = false;
      }
      flush();
      return text;
    },
  };
}

function isControl(piece: SentencePiece, id: number): boolean {
  const type = piece.model.pieces[id]?.type;
  return type === PIECE.control || type === PIECE.unknown;
}

function controlPieces(piece: SentencePiece): SpecialToken[] {
  return piece.model.pieces.flatMap(({ text }, id) => (isControl(piece, id) ? [controlToken(text, id)] : []));
}

async function readModel({ tree }: Checkpoint): Promise<Uint8Array> {
  const size = (await tree.size(SENTENCEPIECE_FILE)) ?? 0;
  if (size <= MAX_MODEL_BYTES) {
    const bytes = await tree.read(SENTENCEPIECE_FILE, 0, size);
    refuseLfsPointer(bytes, SENTENCEPIECE_FILE, "bad_tokenizer");
    refuseTiktoken(bytes);
    return bytes;
  }
  throw new TacetError(
    "bad_tokenizer",
    `${SENTENCEPIECE_FILE} has ${size} bytes, at most ${MAX_MODEL_BYTES} are read`,
  );
}

/** GLM-4, Llama 3 in Meta's own layout and others have a vocabulary of tiktoken under the same name. */
function refuseTiktoken(bytes: Uint8Array): void {
  const start = String.fromCharCode(...bytes.subarray(0, 400));
  if (!/^(?:[A-Za-z0-9+/]+=* \d+\r?\n)+/.test(start)) return;
  throw new TacetError(
    "bad_tokenizer",
    `${SENTENCEPIECE_FILE} is a tiktoken vocabulary, not a sentencepiece model`,
    {
      hint:
        "tiktoken files are not read: put the tokenizer.json of the model's release for transformers beside it " +
        "(for GLM-4 that is in the repository whose name ends in -hf)",
    },
  );
}
