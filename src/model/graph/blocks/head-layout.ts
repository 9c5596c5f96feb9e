/** How the entries of a head lie for the attention operator, which turns heads of some sizes only. */

import type { Dims, Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { splitColumns } from "./columns.ts";
import { reshape } from "./reshape.ts";
import type { Rotary } from "./rotary-tables.ts";

export interface HeadLayout {
  /** Entries of a head as the operator gets it. */
  readonly cachedDim: number;
  /** Into which a head is split, each padded at its end: 2 keeps entry i of both halves a pair. */
  readonly parts: 1 | 2;
  /** Columns of the tables of cos and sin; those behind what is turned turn nothing. */
  readonly tableColumns: number;
  /** Entries that are not turned are half behind either half of those that are (spreadHeads). */
  readonly isSpread: boolean;
}

/** The attention operator turns heads of a multiple of 16 entries only; others are padded with zeros. */
function paddedDim(entries: number): number {
  return 16 * Math.ceil(entries / 16);
}

/** Its tables have a multiple of 8 columns, and where halves are turned together as many as pairs. */
export function headLayout(headDim: number, rotary: Rotary | null = null): HeadLayout {
  const cachedDim = paddedDim(headDim);
  if (rotary === null) return { cachedDim, parts: 1, tableColumns: 0, isSpread: false };
  const { dims, pairs } = rotary;
  if (pairs === "neighbours" || (dims < headDim && dims % 16 === 0)) {
    return { cachedDim, parts: 1, tableColumns: paddedDim(dims) / 2, isSpread: false };
  }
  return { cachedDim, parts: 2, tableColumns: cachedDim / 2, isSpread: dims < headDim };
}

/** [a | b | c | d] → [a | c | b | d] of each head, a and b the halves of its first `dims` entries: (1, tokens, heads·headDim). */
export function spreadHeads(
  builder: SegmentBuilder,
  x: Value,
  heads: number,
  headDim: number,
  dims: number,
): Value {
  const [turned, rest] = [dims / 2, (headDim - dims) / 2];
  return swapInner(builder, x, heads, [turned, turned, rest, rest]);
}

/** The inverse of {@link spreadHeads}. */
export function gatherHeads(
  builder: SegmentBuilder,
  x: Value,
  heads: number,
  headDim: number,
  dims: number,
): Value {
  const [turned, rest] = [dims / 2, (headDim - dims) / 2];
  return swapInner(builder, x, heads, [turned, rest, turned, rest]);
}

/** The inner two of four parts of each head change places. @param sizes of the parts, as they are in x */
function swapInner(
  builder: SegmentBuilder,
  x: Value,
  heads: number,
  sizes: readonly [number, number, number, number],
): Value {
  const headDim = sizes.reduce((sum, size) => sum + size, 0);
  const split = reshape(builder, x, [1, "tokens", heads, headDim]);
  const [a, b, c, d] = splitColumns(builder, split, sizes);
  const [swapped] = builder.node("Concat", [a, c, b, d], [{ dims: split.dims }], {
    attributes: { axis: -1 },
  });
  return reshape(builder, swapped, [1, "tokens", heads * headDim]);
}

/**
 * Heads of `from` entries padded with zeros, or cut, to `to`: x (1, tokens, heads·from) → (1, tokens, heads·to).
 *
 * @param parts into which a head is split, each resized at its end
 */
export function resizeHeads(
  builder: SegmentBuilder,
  x: Value,
  heads: number,
  [from, to]: readonly [number, number],
  parts: 1 | 2,
): Value {
  if (from === to) return x;
  const split = (d: number): Dims => [1, "tokens", parts * heads, d / parts];
  // Negative padding cuts.
  const pads = BigInt64Array.of(0n, 0n, 0n, 0n, 0n, 0n, 0n, BigInt((to - from) / parts));
  const [resized] = builder.node(
    "Pad",
    [reshape(builder, x, split(from)), builder.graph.constant([8], pads)],
    [{ dims: split(to) }],
  );
  return reshape(builder, resized, [1, "tokens", heads * to]);
}
