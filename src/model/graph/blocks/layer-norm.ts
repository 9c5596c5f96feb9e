/** Layer norm with a bias, as GPT-2 has it. */

import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

export interface LayerNorm {
  /** Name without ".weight" and ".bias", both (width). */
  readonly name: string;
  readonly width: number;
  readonly epsilon: number;
}

/** x = (h - mean(h)) / sqrt(var(h) + eps) · weight + bias, over the last dimension. */
export function layerNorm(builder: SegmentBuilder, h: Value, norm: LayerNorm): Value {
  const attributes = { axis: -1, epsilon: { float: norm.epsilon } };
  return builder.node("LayerNormalization", [h, ...tensors(builder, norm)], [{ dims: h.dims }], {
    attributes,
  })[0];
}

/** h' = h + y, x = norm(h'): [x, h'] */
export function addLayerNorm(builder: SegmentBuilder, h: Value, y: Value, norm: LayerNorm): [Value, Value] {
  const spec = { dims: h.dims };
  const [x, , , sum] = builder.node(
    "SkipLayerNormalization",
    [h, y, ...tensors(builder, norm)],
    [spec, null, null, spec],
    { domain: CONTRIB, attributes: { epsilon: { float: norm.epsilon } } },
  );
  return [x, sum];
}

function tensors(builder: SegmentBuilder, { name, width }: LayerNorm): [weight: string, bias: string] {
  return [builder.weight(`${name}.weight`, [width]), builder.weight(`${name}.bias`, [width])];
}
