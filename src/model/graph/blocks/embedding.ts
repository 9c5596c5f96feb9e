/** Rows of a table, by id. */

import type { Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/**
 * x_t = table[ids_t]: ids (1, tokens) → (1, tokens, width). The rows are widened after the look-up, so that the
 * table stays in the file as it is.
 */
export function embed(
  builder: SegmentBuilder,
  weight: string,
  shape: readonly [rows: number, width: number],
  ids: Value,
): Value {
  const dims = [1, "tokens", shape[1]];
  const { stored, type } = builder.storedWeight(weight, shape);
  const [rows] = builder.node("Gather", [stored, ids], [{ dims, type }]);
  if (type === "float32") return rows;
  return builder.node("Cast", [rows], [{ dims }], { attributes: { to: 1 } })[0];
}
