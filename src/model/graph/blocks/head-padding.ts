/** Heads of other sizes than the attention operator takes. */

import type { Dims, Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { reshape } from "./reshape.ts";

/** The attention operator turns heads of a multiple of 16 entries only; others are padded with zeros. */
export function cachedHeadDim(headDim: number): number {
  return 16 * Math.ceil(headDim / 16);
}

/**
 * Heads of `from` entries padded with zeros, or cut, to `to`: x (1, tokens, heads·from) → (1, tokens, heads·to).
 *
 * @param parts into which a head is split, each resized at its end: 2 keeps entry i of both halves a pair
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
