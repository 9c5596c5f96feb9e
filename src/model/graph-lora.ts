/** A LoRA inside the graph: the plaintext that private inference is measured against, with no cut at all. */

import type { LoraModule } from "../weights/lora-adapter.ts";
import type { LinearPlace } from "./linear-place.ts";
import { CONTRIB } from "./onnx-graph.ts";
import type { SegmentBuilder, Value } from "./segment-builder.ts";

/** Modules of an adapter, by name. */
export type LoraModules = ReadonlyMap<string, LoraModule>;

/**
 * y + [B_1·A_1·x; B_2·A_2·x; …], scaled, for the modules of a place that are adapted: x (1, tokens, in), y (1, tokens,
 * Σ out).
 */
export function addLora(
  builder: SegmentBuilder,
  place: LinearPlace,
  loras: LoraModules,
  x: Value,
  y: Value,
): Value {
  const adapted = place.modules.map((name) => loras.get(name));
  if (adapted.every((module) => module === undefined)) return y;
  const deltas = adapted.map((module, i) =>
    module ? lowRankProduct(builder, module, x) : zeros(builder, x, place.outFeatures[i]),
  );
  const joined =
    deltas.length === 1
      ? deltas[0]
      : builder.node("Concat", deltas, [{ dims: y.dims }], { attributes: { axis: -1 } })[0];
  return builder.node("Add", [y, joined], [{ dims: y.dims }])[0];
}

function lowRankProduct(builder: SegmentBuilder, module: LoraModule, x: Value): Value {
  const { a, b, rank, inFeatures, outFeatures, scale } = module;
  const scaled = builder.graph.constant(
    [rank, inFeatures],
    a.map((value) => value * scale),
  );
  const transposed = { domain: CONTRIB, attributes: { transB: 1 } };
  const [hidden] = builder.node("FusedMatMul", [x, scaled], [{ dims: [1, "tokens", rank] }], transposed);
  const columns = builder.graph.constant([outFeatures, rank], b);
  return builder.node(
    "FusedMatMul",
    [hidden, columns],
    [{ dims: [1, "tokens", outFeatures] }],
    transposed,
  )[0];
}

/** (1, tokens, width): a product with a column of zeros for each entry of a first, short one. */
function zeros(builder: SegmentBuilder, x: Value, width: number): Value {
  const n = x.dims[2] as number;
  const none = builder.graph.constant([n, 1], new Float32Array(n));
  const [nothing] = builder.node("MatMul", [x, none], [{ dims: [1, "tokens", 1] }]);
  const row = builder.graph.constant([1, width], new Float32Array(width));
  return builder.node("MatMul", [nothing, row], [{ dims: [1, "tokens", width] }])[0];
}
