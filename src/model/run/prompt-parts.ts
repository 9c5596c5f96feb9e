/** An input cut into parts that are read one behind the other, and their logits put together. */

import type { PassInput } from "./segment-pass.ts";

/** As equal as can be. */
export function cutInput(input: PassInput, parts: number): PassInput[] {
  const { ids, firstRow, offset = 0 } = input;
  const startOf = (part: number) => Math.floor((part * ids.length) / parts);
  return Array.from({ length: parts }, (_, part) => {
    const [start, end] = [startOf(part), startOf(part + 1)];
    // A part without a row that is asked for makes one all the same, its last.
    const first = firstRow < 0 || firstRow >= end ? -1 : Math.max(0, firstRow - start);
    return { ...input, ids: ids.slice(start, end), firstRow: first, offset: offset + start };
  });
}

/** The logits that the input asked for, from those of its parts. */
export function joinLogits(
  { firstRow }: PassInput,
  parts: readonly PassInput[],
  logits: readonly Float32Array[],
): Float32Array {
  if (firstRow < 0) return logits[logits.length - 1];
  return joinRows(logits.filter((_, i) => parts[i].firstRow >= 0));
}

/** One after another. */
export function joinRows(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0];
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
