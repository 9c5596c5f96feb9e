/** Root mean square norm. */

import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { reshape } from "./reshape.ts";

export interface RmsNorm {
  /** Name of the weight, (width). */
  readonly weight: string;
  readonly width: number;
  readonly epsilon: number;
}

/** x = h / sqrt(mean(h²) + eps) · weight, over the last dimension. */
export function rmsNorm(builder: SegmentBuilder, h: Value, { weight, width, epsilon }: RmsNorm): Value {
  const attributes = { axis: -1, epsilon: { float: epsilon } };
  const scale = builder.weight(weight, [width]);
  return builder.node("SimplifiedLayerNormalization", [h, scale], [{ dims: h.dims }], { attributes })[0];
}

/** h' = h + y, x = norm(h'): [x, h'] */
export function addRmsNorm(
  builder: SegmentBuilder,
  h: Value,
  y: Value,
  { weight, width, epsilon }: RmsNorm,
): [Value, Value] {
  const scale = builder.weight(weight, [width]);
  const spec = { dims: h.dims };
  const [x, , , sum] = builder.node(
    "SkipSimplifiedLayerNormalization",
    [h, y, scale],
    [spec, null, null, spec],
    { domain: CONTRIB, attributes: { epsilon: { float: epsilon } } },
  );
  return [x, sum];
}

/** Each head on its own: (1, tokens, heads·width), the norm over each `width` entries. */
export function rmsNormHeads(builder: SegmentBuilder, x: Value, heads: number, norm: RmsNorm): Value {
  const split = reshape(builder, x, [1, "tokens", heads, norm.width]);
  return reshape(builder, rmsNorm(builder, split, norm), [1, "tokens", heads * norm.width]);
}
