/** From one block of a decoder to the next: a linear layer adds to the residual, another one reads its norm. */

import { addBias, linear, placeProduct, weightsProduct, withLora } from "../linear-layer.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { PlaceInput } from "../modules/module-writer.ts";
import type { Value } from "../onnx-graph.ts";
import type { Pair, PairValue } from "../pair.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { addNorm, type Norm } from "./norm.ts";

/**
 * h' = h + W₁·x + b₁ + delta₁, y = W₂·norm(h') + b₂ + delta₂, of an RMS norm: [y, h']. Where both places may be a
 * pair, with one cut for both deltas.
 */
export function addThenLinear(
  builder: SegmentBuilder,
  residual: Value,
  first: PlaceInput,
  norm: Norm,
  second: LinearPlace,
): [Value, Value] {
  const { pairable } = builder.plan;
  const { weight } = norm;
  if (weight !== null && pairable.has(first.place) && pairable.has(second))
    return writePair(builder, residual, first, { ...norm, weight }, second);
  const [normed, sum] = addNorm(builder, residual, linear(builder, first.place, first.x), norm);
  return [linear(builder, second, normed), sum];
}

/** W₂ is computed while both deltas are on their way. */
function writePair(
  builder: SegmentBuilder,
  residual: Value,
  { place, x }: PlaceInput,
  norm: Pair["norm"],
  second: LinearPlace,
): [Value, Value] {
  const { groupAt } = builder.plan;
  const group = groupAt.get(second)!;
  const out = second.outFeatures.reduce((total, length) => total + length, 0);
  const { dims } = residual;
  const added = withLora(builder, place, x, () => placeProduct(builder, place, x));
  const [sum] = builder.node("Add", [residual, added], [{ dims }]);
  builder.expose(x);
  builder.expose(sum);
  const normed = builder.given(`normed.${group}`, "float32", dims);
  const hidden = builder.given(`hidden.${group}`, "float32", dims);
  const factor = builder.given(`factor.${group}`, "float32", [1, "tokens", 1]);
  const delta = builder.given(`delta.${group}`, "float32", [1, "tokens", out]);
  const names: Record<PairValue, string> = {
    x: x.name,
    sum: sum.name,
    normed: normed.name,
    product: builder.graph.freshName("product"),
    hidden: hidden.name,
    factor: factor.name,
    delta: delta.name,
  };
  const pair = { first: groupAt.get(place)!, second: group, norm, names };
  builder.step({ kind: "ask-pair", pair });
  builder.cut();
  const weights = (name?: string): Value => weightsProduct(builder, second, normed, name);
  const product = withLora(builder, second, normed, weights, names.product);
  builder.expose(product);
  builder.step({ kind: "take-pair", pair });
  builder.cut();
  const spec = { dims: product.dims };
  const [whole] = builder.node("Add", [product, delta], [spec]);
  const [y] = builder.node("Mul", [whole, factor], [spec]);
  return [addBias(builder, second, y), hidden];
}
