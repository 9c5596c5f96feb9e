/** A LoRA inside the graph: the plaintext that private inference is measured against, with no cut at all. */

import type { LoraModule } from "../../weights/lora-adapter.ts";
import type { LinearPlace } from "./linear-place.ts";
import type { Attribute, OnnxGraph, OutputSpec, Value } from "./onnx-graph.ts";

/** What a LoRA needs of the builder. */
interface GraphWriter {
  readonly graph: OnnxGraph;
  node(
    opType: string,
    inputs: readonly (Value | string)[],
    outputs: readonly OutputSpec[],
    options?: { readonly attributes?: Readonly<Record<string, Attribute>>; readonly domain?: string },
  ): Value[];
  timesRows(x: Value, weight: string, output: NonNullable<OutputSpec>): Value;
}

/** Modules of an adapter, by name. */
export type LoraModules = ReadonlyMap<string, LoraModule>;

/**
 * y + [B_1·A_1·x; B_2·A_2·x; …], scaled, for the modules of a place that are adapted: x (1, tokens, in), y (1, tokens,
 * Σ out). Of an embedding x is the ids.
 *
 * @param name of what comes out, where something is added
 */
export function addLora(
  builder: GraphWriter,
  place: LinearPlace,
  loras: LoraModules,
  x: Value,
  y: Value,
  name?: string,
): Value {
  if (!place.modules.some((module) => loras.has(module))) return y;
  const deltas = place.modules.map((name, i) =>
    lowRankProduct(builder, loras.get(name) ?? zeroLora(name, place.inFeatures, place.outFeatures[i]), x),
  );
  const joined =
    deltas.length === 1
      ? deltas[0]
      : builder.node("Concat", deltas, [{ dims: y.dims }], { attributes: { axis: -1 } })[0];
  return builder.node("Add", [y, joined], [{ dims: y.dims, ...(name === undefined ? {} : { name }) }])[0];
}

function lowRankProduct(builder: GraphWriter, module: LoraModule, x: Value): Value {
  const { b, rank, outFeatures } = module;
  const lead = module.isEmbedding ? x.dims : x.dims.slice(0, -1);
  const hidden = module.isEmbedding ? columnsOf(builder, module, x) : project(builder, module, x);
  const columns = builder.graph.constant([outFeatures, rank], b);
  return builder.timesRows(hidden, columns, { dims: [...lead, outFeatures] });
}

/** scale·A·x */
function project(builder: GraphWriter, { a, rank, inFeatures, scale }: LoraModule, x: Value): Value {
  const scaled = builder.graph.constant(
    [rank, inFeatures],
    a.map((value) => value * scale),
  );
  return builder.timesRows(x, scaled, { dims: [...x.dims.slice(0, -1), rank] });
}

/** scale·A[:, ids] */
function columnsOf(builder: GraphWriter, { a, rank, inFeatures, scale }: LoraModule, ids: Value): Value {
  const columns = new Float32Array(a.length);
  for (let r = 0; r < rank; r++) {
    for (let i = 0; i < inFeatures; i++) columns[i * rank + r] = a[r * inFeatures + i] * scale;
  }
  const table = builder.graph.constant([inFeatures, rank], columns);
  return builder.node("Gather", [table, ids], [{ dims: [...ids.dims, rank] }])[0];
}

/** Stands beside adapted modules for one that is not. */
function zeroLora(name: string, inFeatures: number, outFeatures: number): LoraModule {
  const [a, b] = [new Float32Array(inFeatures), new Float32Array(outFeatures)];
  return { name, rank: 1, inFeatures, outFeatures, a, b, scale: 1 };
}
