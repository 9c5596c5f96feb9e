/**
 * Byte-pair encoding as sentencepiece does it: of all neighbours whose joint text is a piece, the pair with the
 * highest score (the leftmost of equals) is joined, until none is left. Takes O(n log n) for n characters.
 */

import { charLength } from "./normalize.ts";
import { PairHeap } from "./pair-heap.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** The parts that a normalized text is cut into; their texts joined are the text. */
export function cutByMerges(text: string, vocabulary: Vocabulary): string[] {
  const { starts, frozen } = cutSmall(text, vocabulary);
  const count = starts.length;
  // Each symbol by its first part: its end, and its neighbours; a symbol that was joined to its left is empty.
  const ends = starts.map((_, i) => starts[i + 1] ?? text.length);
  const previous = starts.map((_, i) => i - 1);
  const next = starts.map((_, i) => (i + 1 < count ? i + 1 : -1));
  const heap = new PairHeap();
  /** Unused pieces that came up, and the two parts that they were to be made of. */
  const halves = new Map<string, readonly [string, string]>();
  const part = (i: number) => text.slice(starts[i], ends[i]);

  const consider = (left: number, right: number) => {
    if (left < 0 || right < 0 || frozen[left] || frozen[right]) return;
    const joint = text.slice(starts[left], ends[right]);
    const id = vocabulary.inText.get(joint);
    if (id === undefined) return;
    heap.push({ left, right, length: joint.length, score: vocabulary.model.pieces[id].score });
    if (vocabulary.isUnused(id)) halves.set(joint, [part(left), part(right)]);
  };

  for (let i = 1; i < count; i++) consider(i - 1, i);
  for (let pair = heap.pop(); pair !== undefined; pair = heap.pop()) {
    const { left, right, length } = pair;
    const [leftLength, rightLength] = [ends[left] - starts[left], ends[right] - starts[right]];
    // Out of date: one of the two has been joined to another since.
    if (leftLength === 0 || rightLength === 0 || leftLength + rightLength !== length) continue;
    ends[left] = ends[right];
    ends[right] = starts[right];
    next[left] = next[right];
    if (next[right] >= 0) previous[next[right]] = left;
    consider(previous[left], left);
    consider(left, next[left]);
  }

  const parts: string[] = [];
  for (let i = count > 0 ? 0 : -1; i >= 0; i = next[i]) split(part(i), vocabulary, halves, parts);
  return parts;
}

/** Characters, and user-defined pieces, which are joined to nothing. */
function cutSmall(text: string, { userDefined }: Vocabulary): { starts: number[]; frozen: boolean[] } {
  const starts: number[] = [];
  const frozen: boolean[] = [];
  for (let at = 0; at < text.length; ) {
    const whole = userDefined.longest(text, at);
    starts.push(at);
    frozen.push(whole > 0);
    at += whole || charLength(text, at);
  }
  return { starts, frozen };
}

/** Takes unused pieces apart again, down to pieces that are used. */
function split(
  whole: string,
  vocabulary: Vocabulary,
  halves: ReadonlyMap<string, readonly [string, string]>,
  parts: string[],
): void {
  const open = [whole];
  for (let piece = open.pop(); piece !== undefined; piece = open.pop()) {
    const id = vocabulary.idOf(piece);
    const pair = id === undefined || !vocabulary.isUnused(id) ? undefined : halves.get(piece);
    if (pair === undefined) parts.push(piece);
    else open.push(pair[1], pair[0]);
  }
}
