/** Rows of a matrix, and entries of its rows, in another order. */

import { bytesOf } from "../../base/bytes.ts";

/** Where a row's blocks of `size` entries come from, if whole ones do. */
export function blocksFrom(
  columnFrom: (column: number) => number,
  width: number,
  size: number,
): ((block: number) => number) | undefined {
  for (let column = 0; column < width; column++) {
    const within = column % size;
    const from = columnFrom(column - within);
    if (from % size !== 0 || columnFrom(column) !== from + within) return undefined;
  }
  return (block) => columnFrom(size * block) / size;
}

/** The parts of each row, `size` entries each, in another order. */
export function moved<T extends Float32Array | Uint8Array>(
  rows: T,
  width: number,
  size: number,
  from: (part: number) => number,
): T {
  const out = rows.slice() as T;
  const places = Array.from({ length: width / size }, (_, part) => from(part) * size);
  for (let row = 0; row < rows.length; row += width) {
    for (const [part, place] of places.entries())
      for (let i = 0; i < size; i++) out[row + part * size + i] = rows[row + place + i];
  }
  return out;
}

/** So many rows that nobody has asked for are rather read than left out. */
const GAP = 64;

/** Ranges that have all of these rows and little more. */
export function stretches(rows: readonly number[]): { readonly start: number; end: number }[] {
  const found: { readonly start: number; end: number }[] = [];
  for (const row of rows.toSorted((a, b) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && row < last.end + GAP) last.end = row + 1;
    else found.push({ start: row, end: row + 1 });
  }
  return found;
}

/** (rows, width) → (width, rows), entries of `size` bytes. */
export function turned(bytes: Uint8Array, width: number, size: number): Uint8Array {
  const Entries = size === 2 ? Uint16Array : Uint32Array;
  const from = new Entries(Uint8Array.from(bytes).buffer);
  const to = new Entries(from.length);
  const rows = from.length / width;
  for (let r = 0; r < rows; r++) for (let c = 0; c < width; c++) to[c * rows + r] = from[r * width + c];
  return bytesOf(to);
}
