/** Rotation by itself, for what is normed behind it. */

import type { PassWriter } from "../modules/pass-writer.ts";
import { CONTRIB, type Value } from "../onnx-graph.ts";
import { gatherHeads, headLayout, resizeHeads, spreadHeads } from "./head-layout.ts";
import { type Rotary, rotaryTables } from "./rotary-tables.ts";

/** x (1, tokens, heads·headDim), every head turned by its token's position. */
export function rotate(pass: PassWriter, x: Value, heads: number, headDim: number, rotary: Rotary): Value {
  const { builder, given } = pass;
  const { cachedDim, parts, tableColumns, isSpread } = headLayout(headDim, rotary);
  const { dims, pairs } = rotary;
  const spread = isSpread ? spreadHeads(builder, x, heads, headDim, dims) : x;
  const wide = resizeHeads(builder, spread, heads, [headDim, cachedDim], parts);
  const first = pass.onceInGraph(
    "past64",
    () => builder.node("Cast", [given.past], [{ dims: [1], type: "int64" }], { attributes: { to: 7 } })[0],
  );
  const [turned] = builder.node(
    "RotaryEmbedding",
    [wide, first, ...rotaryTables(pass, rotary, tableColumns)],
    [{ dims: wide.dims }],
    {
      domain: CONTRIB,
      attributes: {
        interleaved: pairs === "neighbours" ? 1 : 0,
        num_heads: heads,
        ...(2 * tableColumns < cachedDim ? { rotary_embedding_dim: 2 * tableColumns } : {}),
      },
    },
  );
  const cut = resizeHeads(builder, turned, heads, [cachedDim, headDim], parts);
  return isSpread ? gatherHeads(builder, cut, heads, headDim, dims) : cut;
}
