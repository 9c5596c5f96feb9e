/** Text ↔ piece ids as sentencepiece gives them (SentencePieceProcessor's EncodeAsIds and DecodeIds). */

import { utf8 } from "../../base/bytes.ts";
import { cutByMerges } from "./bpe.ts";
import { PIECE, parseSentencePieceModel, type SentencePieceModel } from "./model-file.ts";
import { createNormalizer, type NormalizeOptions, SPACE_MARK } from "./normalize.ts";
import { createUnigram } from "./unigram.ts";
import { Vocabulary } from "./vocabulary.ts";

export interface DecodeOptions {
  readonly prefix?: "sentencepiece" | "one" | "kept";
}

export class SentencePiece {
  readonly model: SentencePieceModel;
  readonly #vocabulary: Vocabulary;
  readonly #normalize: (text: string, options?: NormalizeOptions) => string;
  readonly #cut: (text: string) => string[];

  /**
   * @param path of the file, for messages
   * @throws TacetError bad_tokenizer
   */
  constructor(bytes: Uint8Array, path: string) {
    this.model = parseSentencePieceModel(bytes, path);
    const vocabulary = new Vocabulary(this.model);
    this.#vocabulary = vocabulary;
    this.#normalize = createNormalizer(this.model, vocabulary.userDefined, path);
    this.#cut =
      this.model.type === "unigram" ? createUnigram(vocabulary) : (text) => cutByMerges(text, vocabulary);
  }

  get size(): number {
    return this.model.pieces.length;
  }

  /** Control pieces are not looked for: their names in the text are text. */
  encode(text: string, options?: NormalizeOptions): number[] {
    const { unkId, byteFallback } = this.model;
    const ids: number[] = [];
    for (const piece of this.#cut(this.#normalize(text, options))) {
      const id = this.#vocabulary.idOf(piece) ?? unkId;
      if (id !== unkId) ids.push(id);
      else if (byteFallback) for (const byte of utf8(piece)) ids.push(this.#vocabulary.byteIds[byte]);
      // A run of unknown characters is one unknown piece.
      else if (ids.at(-1) !== unkId) ids.push(unkId);
    }
    return ids;
  }

  /**
   * Bytes that are not UTF-8 read as U+FFFD, one for each broken-off character (sentencepiece: one for each byte).
   *
   * @param options prefix: how many spaces to take away before the text: "sentencepiece" (default): the one that
   *   was put there, or all where the model drops white space; "one"; "kept": none
   */
  decode(ids: readonly number[], { prefix = "sentencepiece" }: DecodeOptions = {}): string {
    const { pieces, unkSurface, addDummyPrefix, removeExtraWhitespaces } = this.model;
    const all = removeExtraWhitespaces && prefix === "sentencepiece";
    let text = "";
    let bytes: number[] = [];
    let start = prefix !== "kept" && (addDummyPrefix || removeExtraWhitespaces);
    const flush = () => {
      if (bytes.length === 0) return;
      text += new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
      bytes = [];
      start = false;
    };
    for (const id of ids) {
      const { text: piece, type } = pieces[id];
      if (type === PIECE.byte) {
        bytes.push(Number.parseInt(piece.slice(3, 5), 16));
        continue;
      }
      flush();
      if (type === PIECE.control) continue;
      if (type === PIECE.unknown) {
        text += unkSurface;
        start = false;
        continue;
      }
      const shown = start && piece.startsWith(SPACE_MARK) ? piece.slice(1) : piece;
      if (!all || shown !== "") start = false;
      text += shown.replaceAll(SPACE_MARK, " ");
    }
    flush();
    return text;
  }

  idOf(piece: string): number | undefined {
    return this.#vocabulary.idOf(piece);
  }
}
