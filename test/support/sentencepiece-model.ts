/** Writes small valid sentencepiece models, with the fields of sentencepiece_model.proto. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { MODEL, PIECE } from "../../src/text/sentencepiece/model-file.ts";

export interface PieceSpec {
  readonly text: string;
  readonly score?: number;
  readonly type?: number;
}

export interface ModelSpec {
  /** Behind <unk>, <s>, </s>, and the bytes where the model falls back to them. */
  readonly pieces: readonly PieceSpec[];
  readonly type?: "unigram" | "bpe";
  readonly byteFallback?: boolean;
  readonly addDummyPrefix?: boolean;
  readonly removeExtraWhitespaces?: boolean;
  readonly charsMap?: Uint8Array;
  /** Fields of the trainer's part, by number: what a reader must refuse. */
  readonly trainer?: Readonly<Record<number, number>>;
}

const BYTES = Array.from({ length: 256 }, (_, byte) => ({
  text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  type: PIECE.byte,
}));

export function sentencePieceModel(spec: ModelSpec): Uint8Array {
  const { type = "bpe", byteFallback = true, addDummyPrefix = true, removeExtraWhitespaces = false } = spec;
  const writer = new BinaryWriter();
  const all: PieceSpec[] = [
    { text: "<unk>", type: PIECE.unknown },
    { text: "<s>", type: PIECE.control },
    { text: "</s>", type: PIECE.control },
    ...(byteFallback ? BYTES : []),
    ...spec.pieces,
  ];
  for (const { text, score = 0, type: kind = PIECE.normal } of all) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(text);
    writer.tag(2, WireType.Bit32).float(score);
    writer.tag(3, WireType.Varint).int32(kind).join();
  }
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(3, WireType.Varint).int32(MODEL[type]);
  writer.tag(35, WireType.Varint).bool(byteFallback);
  for (const [field, value] of Object.entries(spec.trainer ?? {}))
    writer.tag(Number(field), WireType.Varint).int32(value);
  writer.join();
  writer.tag(3, WireType.LengthDelimited).fork();
  if (spec.charsMap) writer.tag(2, WireType.LengthDelimited).bytes(spec.charsMap);
  writer.tag(3, WireType.Varint).bool(addDummyPrefix);
  writer.tag(4, WireType.Varint).bool(removeExtraWhitespaces).join();
  return writer.finish();
}

/** Pieces of a BPE model that joins these words from the left, letter by letter; the first joins come first. */
export function wordPieces(words: readonly string[]): PieceSpec[] {
  const texts = new Set<string>();
  for (const word of words) for (const char of word) texts.add(char);
  const letters = texts.size;
  for (const word of words) {
    const chars = [...word];
    for (let end = 2; end <= chars.length; end++) texts.add(chars.slice(0, end).join(""));
  }
  return [...texts].map((text, i) => ({ text, score: i < letters ? -1e4 : -i }));
}
