/** y = W·x of one matrix, by the operator that fits how it is held and where it is computed. */

import { type Matrix, type QuantizedMatrix, rowsOf, storedShape } from "../weights/weight-source.ts";
import { CONTRIB, type OutputSpec, type Value } from "./onnx-graph.ts";
import type { SegmentBuilder } from "./segment-builder.ts";

/** accuracy_level of MatMulNBits: x is rounded to 8 bits, in blocks as large, and the products are of integers. */
const INT8_ACTIVATIONS = 4;

/** y = W·x for each row of x (1, rows, in) → (1, rows, out), as W is held. */
export function matrixProduct(
  builder: SegmentBuilder,
  matrix: Matrix,
  x: Value,
  output: NonNullable<OutputSpec>,
): Value {
  builder.toProducts();
  const quantized = builder.quantized(matrix);
  if (quantized) return quantizedProduct(builder, matrix, quantized, x, output);
  const weights = matrix.tensors.map((name, i) => {
    const { stored, type } = builder.baseWeight(name, storedShape(matrix, i));
    return type === "float32" ? stored : builder.graph.cast(stored, "float32");
  });
  // The runtime joins them once, at load.
  const joined = joinTensors(builder, weights, matrix.storedInOut ? 1 : 0);
  // As it lies in memory: a turned copy would be one more beside the one that the runtime packs at load.
  if (matrix.storedInOut) return builder.node("MatMul", [x, joined], [output])[0];
  return timesRows(builder, x, joined, output);
}

/** y = x·Wᵀ for W (out, in) */
export function timesRows(
  builder: SegmentBuilder,
  x: Value,
  weight: string,
  output: NonNullable<OutputSpec>,
): Value {
  if (!builder.plan.onDevice) {
    const options = { domain: CONTRIB, attributes: { transB: 1 } };
    return builder.node("FusedMatMul", [x, weight], [output], options)[0];
  }
  // Not every device has that operator. Turned once, when it is copied there.
  const turned = builder.graph.freshName("turned");
  builder.graph.node("Transpose", [weight], [turned], { attributes: { perm: [1, 0] } });
  return builder.node("MatMul", [x, turned], [output])[0];
}

function quantizedProduct(
  builder: SegmentBuilder,
  matrix: Matrix,
  { tree, form, codes, scales, zeroPoints }: QuantizedMatrix,
  x: Value,
  output: NonNullable<OutputSpec>,
): Value {
  const { graph } = builder;
  const operands = [graph.weight(tree, codes, "uint8"), graph.weight(tree, scales, "float32")];
  if (zeroPoints) operands.push(graph.weight(tree, zeroPoints, "uint8"));
  return builder.node("MatMulNBits", [x, ...operands], [output], {
    domain: CONTRIB,
    attributes: {
      K: matrix.inFeatures,
      N: rowsOf(matrix),
      bits: form.bits,
      block_size: form.block,
      accuracy_level: INT8_ACTIVATIONS,
    },
  })[0];
}

/** Initializers of the current graph as one, by the runtime at load. */
export function joinTensors(builder: SegmentBuilder, parts: readonly string[], axis: number): string {
  if (parts.length === 1) return parts[0];
  const joined = builder.graph.freshName("joined");
  builder.graph.node("Concat", parts, [joined], { attributes: { axis } });
  return joined;
}
