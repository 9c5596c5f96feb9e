/** Rows of a table, by id. */

import { replaceEmbeddings, scaleRows } from "../changed-product.ts";
import { type LinearPlace, weightsOf } from "../linear-place.ts";
import type { ElementType, Value } from "../onnx-graph.ts";
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
  return lookUp(builder, builder.storedWeight(weight, shape), shape[1], ids);
}

/** h_t = s ⊙ E[ids_t] + delta_t, the embedding of the tokens: ids (1, tokens) → (1, tokens, width). */
export function embedTokens(builder: SegmentBuilder, place: LinearPlace, ids: Value): Value {
  const { modules, inFeatures: vocabSize, outFeatures } = place;
  const [width] = outFeatures;
  const { changes } = builder.plan;
  const shape = [vocabSize, width];
  const changed = changes.tensor(`${modules[0]}.weight`, shape);
  let h = changed
    ? lookUp(builder, builder.inline(changed), width, ids)
    : lookUp(builder, builder.baseWeight(weightsOf(place)[0], shape), width, ids);
  const rows = changes.tokens(modules[0], vocabSize, width);
  if (rows) h = replaceEmbeddings(builder, h, ids, rows, vocabSize);
  const scales = changes.scales(modules, outFeatures);
  if (scales) h = scaleRows(builder, h, scales, { dims: h.dims });
  return builder.addToEmbedding(place, ids, h);
}

function lookUp(
  builder: SegmentBuilder,
  { stored, type }: { readonly stored: string; readonly type: ElementType },
  width: number,
  ids: Value,
): Value {
  const dims = [1, "tokens", width];
  const [rows] = builder.node("Gather", [stored, ids], [{ dims, type }]);
  if (type === "float32") return rows;
  return builder.node("Cast", [rows], [{ dims }], { attributes: { to: 1 } })[0];
}
