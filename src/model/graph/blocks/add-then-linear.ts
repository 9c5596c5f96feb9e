/** From one block of a decoder to the next: a linear layer adds to the residual, another one reads its norm. */

import type { LinearPlace } from "../linear-place.ts";
import type { SegmentBuilder, Value } from "../segment-builder.ts";
import { addRmsNorm, type RmsNorm } from "./rms-norm.ts";

/**
 * h' = h + W₁·x + b₁ + delta₁, y = W₂·norm(h') + b₂ + delta₂: [y, h']. Where both are adapted, with one cut for both
 * (look-ahead.ts).
 */
export function addThenLinear(
  builder: SegmentBuilder,
  residual: Value,
  first: { readonly place: LinearPlace; readonly x: Value },
  norm: RmsNorm,
  second: LinearPlace,
): [Value, Value] {
  if (builder.looksAhead(first.place, second)) return builder.linearAhead(residual, first, norm, second);
  const [normed, sum] = addRmsNorm(builder, residual, builder.linear(first.place, first.x), norm);
  return [builder.linear(second, normed), sum];
}
