import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sentencePieceModel, wordPieces } from "../../../test/support/sentencepiece-model.ts";
import { SentencePiece } from "./sentencepiece.ts";

/** Written by tools/make-sentencepiece-vectors.py with the reference implementation. */
const FOLDER = "test/vectors/sentencepiece";
const NAMES = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".model"))
  .map((name) => name.slice(0, -".model".length));

interface Vectors {
  encode: [string, number[]][];
  decode: [number[], string][];
}

describe("SentencePiece gives what the reference implementation gives", () => {
  it.each(NAMES)("%s", (name) => {
    const piece = new SentencePiece(readFileSync(`${FOLDER}/${name}.model`), `${name}.model`);
    const { encode, decode } = JSON.parse(readFileSync(`${FOLDER}/${name}.json`, "utf8")) as Vectors;
    expect(encode.length).toBeGreaterThan(150);
    expect(encode.filter(([text, ids]) => piece.encode(text).join() !== ids.join())).toEqual([]);
    expect(decode.filter(([ids, text]) => piece.decode(ids) !== text)).toEqual([]);
  });
});

describe("SentencePiece", () => {
  it("a text of 200,000 characters without a space takes no quadratic time", () => {
    const bpe = new SentencePiece(sentencePieceModel({ pieces: wordPieces(["abab", "▁abc"]) }), "m");
    const text = "abcab".repeat(40_000);
    expect(bpe.decode(bpe.encode(text))).toBe(text);
    const pieces = [
      { text: "a", score: -1 },
      { text: "bc", score: -1 },
      { text: "b", score: -2 },
      { text: "▁", score: -1 },
    ];
    const unigram = new SentencePiece(sentencePieceModel({ type: "unigram", pieces }), "m");
    expect(unigram.decode(unigram.encode(text))).toBe(text);
  });

  it("half a surrogate pair is U+FFFD, and bytes that are not UTF-8 read as U+FFFD", () => {
    const piece = new SentencePiece(sentencePieceModel({ pieces: [{ text: "▁" }] }), "m");
    expect(piece.decode(piece.encode("a\ud800b"))).toBe("a\ufffdb");
    expect(piece.decode([3 + 0xf0, 3 + 0x9f])).toBe("\ufffd");
  });
});
