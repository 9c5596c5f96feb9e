/** A LoRA inside the graph: the plaintext that private inference is measured against, with no cut at all. */

import type { LoraModule } from "../../weights/lora-adapter.ts";
import type { LinearPlace } from "./linear-place.ts";
import { type Attribute, CONTRIB, type OnnxGraph, type OutputSpec, type Value } from "./onnx-graph.ts";

/** What a LoRA needs of the builder. */
interface GraphWriter {
  readonly graph: OnnxGraph;
  node(
    opType: string,
    inputs: readonly (Value | string)[],
    outputs: readonly OutputSpec[],
    options?: { readonly attributes?: Readonly<Record<string, Attribute>>; readonly domain?: string },
  ): Value[];
}

/** Modules of an adapter, by name. */
export type LoraModules = ReadonlyMap<string, LoraModule>;

/**
 * y + [B_1·A_1·x; B_2·A_2·x; …], scaled, for the modules of a place that are adapted: x (1, tokens, in), y (1, tokens,
 * Σ out).
 */
export function addLora(
  builder: GraphWriter,
  place: LinearPlace,
  loras: LoraModules,
  x: Value,
  y: Value,
): Value {
  if (!place.modules.some((name) => loras.has(name))) return y;
  const deltas = place.modules.map((name, i) =>
    lowRankProduct(builder, loras.get(name) ?? zeroLora(name, place.inFeatures, place.outFeatures[i]), x),
  );
  const joined =
    deltas.length === 1
      ? deltas[0]
      : builder.node("Concat", deltas, [{ dims: y.dims }], { attributes: { axis: -1 } })[0];
  return builder.node("Add", [y, joined], [{ dims: y.dims }])[0];
}

function lowRankProduct(builder: GraphWriter, module: LoraModule, x: Value): Value {
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

/** Stands beside adapted modules for one that is not. */
function zeroLora(name: string, inFeatures: number, outFeatures: number): LoraModule {
  const [a, b] = [new Float32Array(inFeatures), new Float32Array(outFeatures)];
  return { name, rank: 1, inFeatures, outFeatures, a, b, scale: 1 };
}
