/** Rotation by itself: for what is normed behind it, and where long contexts are turned by another table. */

import type { PassWriter } from "../modules/pass-writer.ts";
import { CONTRIB, type Value } from "../onnx-graph.ts";
import { gatherHeads, headLayout, resizeHeads, spreadHeads } from "./head-layout.ts";
import { hasLongTable, type Rotary, rotaryRows, rotaryTables } from "./rotary-tables.ts";

/** x (1, tokens, heads·headDim), every head turned by its token's position. */
export function rotate(pass: PassWriter, x: Value, heads: number, headDim: number, rotary: Rotary): Value {
  const { builder, given } = pass;
  const { cachedDim, parts, tableColumns, isSpread } = headLayout(headDim, rotary);
  const { dims, pairs } = rotary;
  const spread = isSpread ? spreadHeads(builder, x, heads, headDim, dims) : x;
  const wide = resizeHeads(builder, spread, heads, [headDim, cachedDim], parts);
  const past64 = (): Value =>
    builder.node("Cast", [given.past], [{ dims: [1], type: "int64" }], { attributes: { to: 7 } })[0];
  // Rows that were looked up begin with the first token's.
  const tables = hasLongTable(pass, rotary)
    ? [builder.graph.constant([1], BigInt64Array.of(0n)), ...rotaryRows(pass, rotary, tableColumns)]
    : [pass.onceInGraph("past64", past64), ...rotaryTables(pass, rotary, tableColumns)];
  const [turned] = builder.node("RotaryEmbedding", [wide, ...tables], [{ dims: wide.dims }], {
    domain: CONTRIB,
    attributes: {
      interleaved: pairs === "neighbours" ? 1 : 0,
      num_heads: heads,
      ...(2 * tableColumns < cachedDim ? { rotary_embedding_dim: 2 * tableColumns } : {}),
    },
  });
  const cut = resizeHeads(builder, turned, heads, [cachedDim, headDim], parts);
  return isSpread ? gatherHeads(builder, cut, heads, headDim, dims) : cut;
}
