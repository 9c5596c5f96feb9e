/** Taking a value apart along one of its dimensions. */

import type { Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/** x (…, Σ widths) → (…, widths[i]) each */
export function splitColumns(builder: SegmentBuilder, x: Value, widths: readonly number[]): Value[] {
  return splitAlong(builder, x, x.dims.length - 1, widths);
}

/** Dimension `axis` of x, Σ sizes, in parts of sizes[i]. */
export function splitAlong(
  builder: SegmentBuilder,
  x: Value,
  axis: number,
  sizes: readonly number[],
): Value[] {
  const split = builder.graph.constant([sizes.length], BigInt64Array.from(sizes, BigInt));
  const specs = sizes.map((size) => ({ dims: x.dims.with(axis, size) }));
  return builder.node("Split", [x, split], specs, { attributes: { axis } });
}
