/** A model's pieces, by text and by id. */

import { PIECE, type SentencePieceModel } from "./model-file.ts";
import { PrefixIndex } from "./prefix-index.ts";

export class Vocabulary {
  readonly model: SentencePieceModel;
  /** Pieces that a text can be cut into: normal, user-defined and unused ones. */
  readonly inText: ReadonlyMap<string, number>;
  readonly userDefined: PrefixIndex;
  /** Id of each byte; empty without byte_fallback. */
  readonly byteIds: readonly number[];
  readonly #reserved: ReadonlyMap<string, number>;

  constructor(model: SentencePieceModel) {
    this.model = model;
    const inText = new Map<string, number>();
    const reserved = new Map<string, number>();
    for (const [id, { text, type }] of model.pieces.entries()) {
      const cuttable = type === PIECE.normal || type === PIECE.userDefined || type === PIECE.unused;
      (cuttable ? inText : reserved).set(text, id);
    }
    this.inText = inText;
    this.#reserved = reserved;
    this.userDefined = new PrefixIndex(
      model.pieces.flatMap(({ text, type }, id) => (type === PIECE.userDefined ? [[text, id] as const] : [])),
    );
    this.byteIds = model.byteFallback
      ? Array.from(
          { length: 256 },
          (_, byte) => reserved.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`)!,
        )
      : [];
  }

  /** Undefined: there is no such piece. */
  idOf(piece: string): number | undefined {
    return this.#reserved.get(piece) ?? this.inText.get(piece);
  }

  isUnused(id: number): boolean {
    return this.model.pieces[id].type === PIECE.unused;
  }

  isUserDefined(id: number): boolean {
    return this.model.pieces[id].type === PIECE.userDefined;
  }
}
