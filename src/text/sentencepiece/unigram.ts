/**
 * The unigram model: of all ways to cut a text into pieces, the one with the largest sum of scores (Viterbi).
 * Sums are rounded to float32 where sentencepiece rounds them, so that near-ties fall as they do there.
 */

import { utf8 } from "../../base/bytes.ts";
import { PIECE } from "./model-file.ts";
import { charLength } from "./normalize.ts";
import { PrefixIndex } from "./prefix-index.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** What an unknown character scores below the least likely piece (kUnkPenalty of sentencepiece). */
const UNKNOWN_PENALTY = 10;

/**
 * What a user-defined piece scores for each byte after its first, whatever the others score. Measured at
 * sentencepiece 0.2.2; releases before gave it bytes · (largest score) − 0.1. Models of language models have none.
 */
const USER_DEFINED_BONUS = 0.1;

/** @returns a function that cuts a normalized text; the parts joined are the text */
export function createUnigram(vocabulary: Vocabulary): (text: string) => string[] {
  const { pieces } = vocabulary.model;
  let least = Number.POSITIVE_INFINITY;
  for (const { score, type } of pieces) if (type === PIECE.normal) least = Math.min(least, score);
  const unknownScore = Math.fround(least - UNKNOWN_PENALTY);
  const used = [...vocabulary.inText].filter(([, id]) => !vocabulary.isUnused(id));
  const index = new PrefixIndex(used);
  const scores = new Float64Array(pieces.length);
  for (const [text, id] of used) {
    scores[id] = vocabulary.isUserDefined(id)
      ? USER_DEFINED_BONUS * (utf8(text).length - 1)
      : pieces[id].score;
  }

  return (text) => {
    /** Best sum of a cut that ends before this code unit, and where its last piece begins; -1: not reached. */
    const best = new Float32Array(text.length + 1);
    const begins = new Int32Array(text.length + 1).fill(-1);
    for (let at = 0; at < text.length; ) {
      const width = charLength(text, at);
      let single = false;
      const reach = (length: number, score: number) => {
        const sum = Math.fround(score + best[at]);
        if (begins[at + length] >= 0 && sum <= best[at + length]) return;
        best[at + length] = sum;
        begins[at + length] = at;
      };
      index.each(text, at, (length, id) => {
        reach(length, scores[id]);
        if (length === width) single = true;
      });
      if (!single) reach(width, unknownScore);
      at += width;
    }
    const parts: string[] = [];
    for (let end = text.length; end > 0; end = begins[end]) parts.push(text.slice(begins[end], end));
    return parts.reverse();
  };
}
