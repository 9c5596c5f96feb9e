import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sentencePieceModel, wordPieces } from "../../../test/support/sentencepiece-model.ts";
import { TacetError } from "../../base/errors.ts";
import { PIECE } from "./model-file.ts";
import { SentencePiece } from "./sentencepiece.ts";

const open = (bytes: Uint8Array) => new SentencePiece(bytes, "tokenizer.model");
const RUNS = process.env.SLOW ? 5000 : 150;

describe("a sentencepiece file", () => {
  it("gives pieces, kinds and options; defaults where nothing is said", () => {
    const { model } = open(
      sentencePieceModel({ pieces: [{ text: "a", score: -2.5 }], removeExtraWhitespaces: true }),
    );
    expect(model.pieces.at(-1)).toEqual({ text: "a", score: -2.5, type: PIECE.normal });
    expect(model).toMatchObject({ type: "bpe", byteFallback: true, unkId: 0, bosId: 1, eosId: 2 });
    expect(model).toMatchObject({ addDummyPrefix: true, removeExtraWhitespaces: true, unkSurface: " ⁇ " });
  });

  it.each([
    [{ trainer: { 3: 3 } }, /model_type 3/],
    [{ trainer: { 24: 1 } }, /treat_whitespace_as_suffix/],
    [{ byteFallback: false, trainer: { 35: 1 } }, /256 byte pieces, there are 0/],
    [{ pieces: [{ text: "" }] }, /is empty/],
    [{ pieces: [{ text: "<s>" }] }, /comes twice/],
    [{ pieces: [{ text: "a", score: Number.NaN }] }, /not finite/],
    [{ pieces: [{ text: "a", type: 9 }] }, /unknown type 9/],
    [{ pieces: [{ text: "a", type: PIECE.unknown }] }, /2 unknown pieces/],
    [{ charsMap: new Uint8Array(9) }, /precompiled_charsmap is damaged/],
    [{ charsMap: Uint8Array.of(255, 255, 255, 127, 0) }, /precompiled_charsmap is damaged/],
  ])("refuses %j by name", (spec, message) => {
    expect(() => open(sentencePieceModel({ pieces: [], ...spec }))).toThrowError(
      expect.objectContaining({ code: "bad_tokenizer", message: expect.stringMatching(message) }),
    );
    expect(() => open(sentencePieceModel({ pieces: [], ...spec }))).toThrow(/tokenizer\.model/);
  });

  it("refuses what is no model", () => {
    const lfs = new TextEncoder().encode(
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    );
    for (const bytes of [new Uint8Array(0), lfs, Uint8Array.of(10, 255, 255, 255, 127, 1)])
      expect(() => open(bytes)).toThrowError(expect.objectContaining({ code: "bad_tokenizer" }));
  });

  it("damaged bytes give an error of ours or a model, never another", () => {
    const whole = [
      readFileSync("test/vectors/sentencepiece/unigram-rules.model"),
      sentencePieceModel({ pieces: wordPieces(["▁ab", "abc"]) }),
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...whole),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.nat(255)), { maxLength: 4 }),
        (model, end, edits) => {
          const bytes = Uint8Array.from(model.subarray(0, end > 0.5 ? model.length : end * model.length));
          for (const [place, value] of edits) bytes[Math.floor(place * bytes.length)] = value;
          try {
            const piece = open(bytes);
            piece.decode(piece.encode("Ａ ab<tag>ﬁ\u00ad ①"));
          } catch (error) {
            expect(error).toBeInstanceOf(TacetError);
          }
        },
      ),
      { numRuns: RUNS },
    );
  });
});
