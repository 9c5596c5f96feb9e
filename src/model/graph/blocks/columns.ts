/** Taking a value's columns apart. */

import type { Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/** x (…, Σ widths) → (…, widths[i]) each */
export function splitColumns(builder: SegmentBuilder, x: Value, widths: readonly number[]): Value[] {
  const sizes = builder.graph.constant([widths.length], BigInt64Array.from(widths, BigInt));
  const specs = widths.map((width) => ({ dims: [...x.dims.slice(0, -1), width] }));
  return builder.node("Split", [x, sizes], specs, { attributes: { axis: -1 } });
}
