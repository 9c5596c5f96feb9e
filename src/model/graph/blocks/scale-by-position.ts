/** Queries that grow with their position. */

import type { PassWriter } from "../modules/pass-writer.ts";
import type { Value } from "../onnx-graph.ts";
import { reshape } from "./reshape.ts";

/** x (1, tokens, width) of position p times 1 + beta·ln(1 + floor(p / context)). */
export function scaleByPosition(
  pass: PassWriter,
  x: Value,
  { beta, context }: { readonly beta: number; readonly context: number },
): Value {
  const { builder, given } = pass;
  const factors = pass.onceInGraph(`scale ${beta} ${context}`, () => {
    const table = Float32Array.from(
      { length: given.maxPositions },
      (_, position) => 1 + beta * Math.log(1 + Math.floor(position / context)),
    );
    const constant = builder.graph.constant([table.length], table);
    const [rows] = builder.node("Gather", [constant, pass.positions()], [{ dims: [1, "tokens"] }]);
    return reshape(builder, rows, [1, "tokens", 1]);
  });
  return builder.node("Mul", [x, factors], [{ dims: x.dims }])[0];
}
