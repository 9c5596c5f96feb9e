/** The norms of a decoder. */

import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { reshape } from "./reshape.ts";

/**
 * rms: x = h / sqrt(mean(h²) + eps) · g; layer: x = (h - mean(h)) / sqrt(var(h) + eps) · g + bias. Over the last
 * dimension.
 */
export interface Norm {
  readonly kind: "rms" | "layer";
  /** Name of the tensor with g, (width); null: g = 1. */
  readonly weight: string | null;
  /** The tensor holds g - 1. */
  readonly plusOne?: boolean;
  /** Name of a layer norm's bias, (width). */
  readonly bias?: string;
  readonly width: number;
  readonly epsilon: number;
}

/** x = norm(h) */
export function norm(builder: SegmentBuilder, h: Value, of: Norm): Value {
  const attributes = { axis: -1, epsilon: { float: of.epsilon } };
  const opType = of.kind === "rms" ? "SimplifiedLayerNormalization" : "LayerNormalization";
  return builder.node(opType, [h, ...operands(builder, of)], [{ dims: h.dims }], { attributes })[0];
}

/** h' = h + y, x = norm(h'): [x, h'] */
export function addNorm(builder: SegmentBuilder, h: Value, y: Value, of: Norm): [x: Value, sum: Value] {
  const spec = { dims: h.dims };
  const opType = of.kind === "rms" ? "SkipSimplifiedLayerNormalization" : "SkipLayerNormalization";
  const [x, , , sum] = builder.node(opType, [h, y, ...operands(builder, of)], [spec, null, null, spec], {
    domain: CONTRIB,
    attributes: { epsilon: { float: of.epsilon } },
  });
  return [x, sum];
}

/** Each head on its own: (1, tokens, heads·width), the norm over each `width` entries. */
export function normHeads(builder: SegmentBuilder, x: Value, heads: number, of: Norm): Value {
  const split = reshape(builder, x, [1, "tokens", heads, of.width]);
  return reshape(builder, norm(builder, split, of), [1, "tokens", heads * of.width]);
}

function operands(builder: SegmentBuilder, { weight, plusOne, bias, width }: Norm): string[] {
  const g =
    weight === null
      ? builder.graph.constant([width], new Float32Array(width).fill(1))
      : builder.weight(weight, [width]);
  const parts = [plusOne ? addOne(builder, g) : g];
  if (bias !== undefined) parts.push(builder.weight(bias, [width]));
  return parts;
}

/** The runtime adds once, at load. */
function addOne(builder: SegmentBuilder, weight: string): string {
  const sum = builder.graph.freshName("gain");
  builder.graph.node("Add", [weight, builder.graph.constant([1], Float32Array.of(1))], [sum]);
  return sum;
}
