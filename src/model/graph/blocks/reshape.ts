/** Giving a value other dimensions. */

import type { Dims, Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/** The same entries as `dims`, of which one may be a name: it takes what is left. */
export function reshape(builder: SegmentBuilder, x: Value, dims: Dims): Value {
  const shape = dims.map((size) => BigInt(typeof size === "number" ? size : -1));
  const constant = builder.graph.constant([dims.length], BigInt64Array.from(shape));
  return builder.node("Reshape", [x, constant], [{ dims, type: x.type }])[0];
}
