/** The function between the two products of an MLP without a gate. */

import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

type Operator = readonly [opType: string, domain: string, alpha?: number | undefined, then?: "square"];

/** x/2·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³))) */
const TANH_GELU: Operator = ["FastGelu", CONTRIB];

/** By the names of transformers' `ACT2FN`. */
const OPERATORS = {
  gelu: ["Gelu", CONTRIB], // x/2·(1 + erf(x/√2))
  gelu_new: TANH_GELU,
  gelu_fast: TANH_GELU,
  gelu_pytorch_tanh: TANH_GELU,
  quick_gelu: ["QuickGelu", CONTRIB, 1.702], // x·sigmoid(1.702·x)
  relu: ["Relu", ""],
  relu2: ["Relu", "", undefined, "square"], // max(x, 0)²
  silu: ["QuickGelu", CONTRIB, 1],
  swish: ["QuickGelu", CONTRIB, 1],
  tanh: ["Tanh", ""],
} as const satisfies Record<string, Operator>;

export type Activation = keyof typeof OPERATORS;

export const ACTIVATIONS = Object.keys(OPERATORS) as readonly Activation[];

/** Entry by entry. */
export function activate(builder: SegmentBuilder, x: Value, activation: Activation): Value {
  const [opType, domain, alpha, then]: Operator = OPERATORS[activation];
  const attributes = alpha === undefined ? {} : { alpha: { float: alpha } };
  const [y] = builder.node(opType, [x], [{ dims: x.dims }], { domain, attributes });
  return then === "square" ? builder.node("Mul", [y, y], [{ dims: x.dims }])[0] : y;
}
