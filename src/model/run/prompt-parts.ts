/** An input cut into parts that are read one behind the other, and logits put together. */

import type { PassInput } from "./segment-pass.ts";

/** As equal as can be. */
export function cutInput(input: PassInput, parts: number): PassInput[] {
  const { ids, firstRow, offset = 0 } = input;
  const startOf = (part: number) => Math.floor((part * ids.length) / parts);
  return Array.from({ length: parts }, (_, part) => {
    const [start, end] = [startOf(part), startOf(part + 1)];
    const isContext = firstRow < 0 ? end < ids.length : firstRow >= end;
    const first = firstRow < 0 || isContext ? -1 : Math.max(0, firstRow - start);
    return { ...input, ids: ids.slice(start, end), firstRow: first, offset: offset + start, isContext };
  });
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
