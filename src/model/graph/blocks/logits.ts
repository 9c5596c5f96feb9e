/** The head of a decoder. */

import type { Head } from "../decoder.ts";
import { linear } from "../linear-layer.ts";
import type { PassWriter } from "../modules/pass-writer.ts";
import type { OutputSpec, Value } from "../onnx-graph.ts";
import { LOGITS } from "../pass-values.ts";

/**
 * logits = cap·tanh(scale·(W·x + b + delta) / cap) of the rows from `given.firstRow` on: x (1, tokens, width) →
 * (1, rows, vocab)
 */
export function logits({ builder, given }: PassWriter, x: Value, { place, scale = 1, softCap }: Head): Value {
  const { inFeatures, outFeatures } = place;
  builder.toConversation();
  const end = builder.graph.constant([1], BigInt64Array.of(2n ** 62n));
  const axis = builder.graph.constant([1], BigInt64Array.of(1n));
  const [rows] = builder.node("Slice", [x, given.firstRow, end, axis], [{ dims: [1, "rows", inFeatures] }]);
  const number = (value: number): string => builder.graph.constant([1], Float32Array.of(value));
  // What makes the last value gives it its name.
  const steps: ((y: Value, spec: NonNullable<OutputSpec>) => Value)[] = [];
  const step = (opType: string, ...operands: (() => string)[]) =>
    steps.push((y, spec) => builder.node(opType, [y, ...operands.map((operand) => operand())], [spec])[0]);
  const inner = softCap === undefined ? scale : scale / softCap;
  if (inner !== 1) step("Mul", () => number(inner));
  if (softCap !== undefined) {
    step("Tanh");
    step("Mul", () => number(softCap));
  }
  const nameOf = (index: number) => (index === steps.length ? { name: LOGITS } : {});
  return steps.reduce(
    (y, next, i) => next(y, { dims: [1, "rows", outFeatures[0]], ...nameOf(i + 1) }),
    linear(builder, place, rows, nameOf(0).name),
  );
}
