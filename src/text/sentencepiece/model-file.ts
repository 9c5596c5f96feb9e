/** A sentencepiece `tokenizer.model`: the protobuf message ModelProto of sentencepiece_model.proto (version 0.2). */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { TacetError } from "../../base/errors.ts";

/** SentencePiece.Type. */
export const PIECE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** TrainerSpec.ModelType. */
export const MODEL = { unigram: 1, bpe: 2 } as const;

/** The most pieces that are read: four times the largest vocabulary in use, so that a hostile file stays small. */
const MAX_PIECES = 1 << 20;
/** Most bytes of a model file; the largest in use have about 5 MB. */
export const MAX_MODEL_BYTES = 64_000_000;

export interface Piece {
  readonly text: string;
  /** float32: a log probability (unigram), or minus the merge's rank (BPE). */
  readonly score: number;
  /** One of {@link PIECE}. */
  readonly type: number;
}

export interface SentencePieceModel {
  /** By id. */
  readonly pieces: readonly Piece[];
  readonly type: "unigram" | "bpe";
  readonly byteFallback: boolean;
  readonly unkId: number;
  /** -1: the model has none. */
  readonly bosId: number;
  readonly eosId: number;
  /** What the unknown piece reads as. */
  readonly unkSurface: string;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
  /** Empty: characters stay as they are. */
  readonly charsMap: Uint8Array;
}

interface Raw {
  pieces: Piece[];
  modelType: number;
  whitespaceAsSuffix: boolean;
  byteFallback: boolean;
  bosId: number;
  eosId: number;
  unkSurface: string;
  addDummyPrefix: boolean;
  removeExtraWhitespaces: boolean;
  escapeWhitespaces: boolean;
  charsMap: Uint8Array;
  denormalizes: boolean;
}

/**
 * @param path for messages
 * @throws TacetError bad_tokenizer if the bytes are not a model, or one with an option that is not supported
 */
export function parseSentencePieceModel(bytes: Uint8Array, path: string): SentencePieceModel {
  let raw: Raw;
  try {
    raw = readModel(bytes);
  } catch (cause) {
    throw new TacetError("bad_tokenizer", `${path} is not a sentencepiece model, or is damaged`, {
      hint: "download the file again (a file of a few hundred bytes is a Git LFS pointer)",
      cause,
    });
  }
  const bad = (problem: string) => new TacetError("bad_tokenizer", `${path}: ${problem}`);
  const type = raw.modelType === MODEL.bpe ? "bpe" : raw.modelType === MODEL.unigram ? "unigram" : undefined;
  if (type === undefined)
    throw bad(`trainer_spec.model_type ${raw.modelType} is not supported (unigram and BPE are)`);
  if (raw.whitespaceAsSuffix) throw bad("trainer_spec.treat_whitespace_as_suffix is not supported");
  if (raw.denormalizes) throw bad("denormalizer_spec.precompiled_charsmap is not supported");
  if (raw.pieces.length === 0) throw bad("it has no pieces");
  const unkIds = [...raw.pieces.keys()].filter((id) => raw.pieces[id].type === PIECE.unknown);
  if (unkIds.length !== 1) throw bad(`it has ${unkIds.length} unknown pieces, not one`);
  checkPieces(raw.pieces, raw.byteFallback, bad);
  const inRange = (id: number) => (id >= 0 && id < raw.pieces.length ? id : -1);
  return { ...raw, type, unkId: unkIds[0], bosId: inRange(raw.bosId), eosId: inRange(raw.eosId) };
}

function checkPieces(
  pieces: readonly Piece[],
  byteFallback: boolean,
  bad: (problem: string) => TacetError,
): void {
  const seen = new Set<string>();
  let bytePieces = 0;
  for (const [id, { text, score, type }] of pieces.entries()) {
    if (text === "") throw bad(`piece ${id} is empty`);
    if (seen.has(text)) throw bad(`piece ${id} comes twice`);
    if (!Number.isFinite(score)) throw bad(`the score of piece ${id} is not finite`);
    if (type < PIECE.normal || type > PIECE.byte) throw bad(`piece ${id} has the unknown type ${type}`);
    seen.add(text);
    if (type !== PIECE.byte) continue;
    if (!/^<0x[0-9A-F]{2}>$/.test(text)) throw bad(`piece ${id} is not the name of a byte`);
    bytePieces++;
  }
  if (byteFallback && bytePieces !== 256)
    throw bad(`trainer_spec.byte_fallback needs 256 byte pieces, there are ${bytePieces}`);
}

/** Field numbers and defaults as in sentencepiece_model.proto; fields that do not change results are skipped. */
function readModel(bytes: Uint8Array): Raw {
  const raw: Raw = {
    pieces: [],
    modelType: MODEL.unigram,
    whitespaceAsSuffix: false,
    byteFallback: false,
    bosId: 1,
    eosId: 2,
    unkSurface: " \u2047 ",
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    escapeWhitespaces: true,
    charsMap: new Uint8Array(0),
    denormalizes: false,
  };
  readFields(bytes, {
    1: (reader) => {
      if (raw.pieces.length === MAX_PIECES) throw new RangeError(`more than ${MAX_PIECES} pieces`);
      raw.pieces.push(readPiece(message(reader)));
    },
    2: (reader) =>
      readFields(message(reader), {
        3: (spec) => (raw.modelType = integer(spec)),
        24: (spec) => (raw.whitespaceAsSuffix = boolean(spec)),
        35: (spec) => (raw.byteFallback = boolean(spec)),
        41: (spec) => (raw.bosId = integer(spec)),
        42: (spec) => (raw.eosId = integer(spec)),
        44: (spec) => (raw.unkSurface = text(spec)),
      }),
    3: (reader) =>
      readFields(message(reader), {
        2: (spec) => (raw.charsMap = message(spec)),
        3: (spec) => (raw.addDummyPrefix = boolean(spec)),
        4: (spec) => (raw.removeExtraWhitespaces = boolean(spec)),
        5: (spec) => (raw.escapeWhitespaces = boolean(spec)),
      }),
    5: (reader) =>
      readFields(message(reader), { 2: (spec) => (raw.denormalizes = message(spec).length > 0) }),
  });
  return raw;
}

function readPiece(bytes: Uint8Array): Piece {
  const piece = { text: "", score: 0, type: PIECE.normal as number };
  readFields(bytes, {
    1: (reader) => (piece.text = text(reader)),
    2: (reader) => (piece.score = reader.wire === WireType.Bit32 ? reader.reader.float() : wrongWire()),
    3: (reader) => (piece.type = integer(reader)),
  });
  return piece;
}

/** A field's value that is yet to be read, with the wire type that stands before it. */
interface Field {
  readonly reader: BinaryReader;
  readonly wire: WireType;
}

/** Calls the handler of each field's number, and steps over the others. */
function readFields(bytes: Uint8Array, handlers: Readonly<Record<number, (field: Field) => void>>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const handler = handlers[number];
    if (handler === undefined) reader.skip(wire, number);
    else handler({ reader, wire });
  }
}

function message({ reader, wire }: Field): Uint8Array {
  return wire === WireType.LengthDelimited ? reader.bytes() : wrongWire();
}

function text(field: Field): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(message(field));
}

function integer({ reader, wire }: Field): number {
  return wire === WireType.Varint ? reader.int32() : wrongWire();
}

function boolean({ reader, wire }: Field): boolean {
  return wire === WireType.Varint ? reader.bool() : wrongWire();
}

function wrongWire(): never {
  throw new RangeError("a field has another wire type than its own");
}
