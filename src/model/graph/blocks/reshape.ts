/** Giving a value other dimensions. */

import type { Dims, Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/** What a reshaped value was before: of two that follow each other only the last one is needed. */
const sources = new WeakMap<Value, Value>();

/** The same entries as `dims`, of which one may be a name: it takes what is left. */
export function reshape(builder: SegmentBuilder, x: Value, dims: Dims): Value {
  const before = sources.get(x);
  const source = before && builder.isHere(before) ? before : x;
  if (isSame(source.dims, dims)) return source;
  const shape = dims.map((size) => BigInt(typeof size === "number" ? size : -1));
  const constant = builder.graph.constant([dims.length], BigInt64Array.from(shape));
  const [reshaped] = builder.node("Reshape", [source, constant], [{ dims, type: source.type }]);
  sources.set(reshaped, source);
  return reshaped;
}

function isSame(a: Dims, b: Dims): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
