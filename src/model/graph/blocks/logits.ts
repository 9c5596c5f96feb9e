/** The head of a decoder. */

import type { LinearPlace } from "../linear-place.ts";
import type { Value } from "../onnx-graph.ts";
import { LOGITS } from "../pass-values.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/**
 * logits = W·x + delta of the rows from `firstRow` on: x (1, tokens, width) → (1, rows, vocab)
 *
 * @param firstRow (1) int64; -1 is the last row only
 */
export function logits(builder: SegmentBuilder, head: LinearPlace, x: Value, firstRow: Value): Value {
  const end = builder.graph.constant([1], BigInt64Array.of(2n ** 62n));
  const axis = builder.graph.constant([1], BigInt64Array.of(1n));
  const [rows] = builder.node("Slice", [x, firstRow, end, axis], [{ dims: [1, "rows", head.inFeatures] }]);
  return builder.linear(head, rows, LOGITS);
}
