/** The head of a decoder. */

import { LOGITS } from "../pass-values.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import type { Value } from "../onnx-graph.ts";

/**
 * logits = W·x of the rows from `firstRow` on: x (1, tokens, width) → (1, rows, vocab)
 *
 * @param weight name of W, (vocab, width)
 * @param firstRow (1) int64; -1 is the last row only
 */
export function logits(
  builder: SegmentBuilder,
  x: Value,
  firstRow: Value,
  weight: string,
  shape: readonly [vocab: number, width: number],
): Value {
  const [vocab, width] = shape;
  const end = builder.graph.constant([1], BigInt64Array.of(2n ** 62n));
  const axis = builder.graph.constant([1], BigInt64Array.of(1n));
  const [rows] = builder.node("Slice", [x, firstRow, end, axis], [{ dims: [1, "rows", width] }]);
  const matrix = { tensors: [weight], outFeatures: [vocab], inFeatures: width, isHead: true };
  return builder.product(matrix, rows, { dims: [1, "rows", vocab], name: LOGITS });
}
