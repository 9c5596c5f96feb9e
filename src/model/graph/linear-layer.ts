/**
 * Linear layers of a forward pass, with what adds to them: an adapter that is here, changed weights, biases, and a
 * DeltaSource, for which the graph is cut.
 */

import { type Matrix, storedShape } from "../weights/weight-source.ts";
import { replaceModules, replaceRows, scaleRows } from "./changed-product.ts";
import { type LinearPlace, weightsOf } from "./linear-place.ts";
import { addLora } from "./lora-inputs.ts";
import { joinTensors, matrixProduct } from "./matrix-product.ts";
import type { Dims, OutputSpec, Value } from "./onnx-graph.ts";
import type { SegmentBuilder } from "./segment-builder.ts";

/**
 * y = [W_1; W_2; …]·x + b + delta for the modules of a place, side by side: x (1, tokens, in) → y (1, tokens, Σ out).
 * Cuts the graph if a DeltaSource adds to one of them.
 *
 * @param name of y
 */
export function linear(builder: SegmentBuilder, place: LinearPlace, x: Value, name?: string): Value {
  const group = builder.plan.groupAt.get(place);
  const product = (name?: string): Value => placeProduct(builder, place, x, name);
  if (group === undefined) return withLora(builder, place, x, product, name);
  const dims = [...x.dims.slice(0, 2), sum(place.outFeatures)];
  const delta = builder.given(`delta.${group}`, "float32", dims);
  builder.expose(x);
  builder.step({ kind: "begin", group, value: x.name });
  builder.cut();
  // Computed while the delta is on its way.
  const base = withLora(builder, place, x, product);
  builder.step({ kind: "wait", group, value: delta.name });
  builder.cut();
  return builder.node("Add", [base, delta], [outputOf(base.dims, name)])[0];
}

/** h + delta for an embedding: ids (1, tokens), h (1, tokens, out). Cuts the graph if a DeltaSource adds to it. */
export function addToEmbedding(builder: SegmentBuilder, place: LinearPlace, ids: Value, h: Value): Value {
  const group = builder.plan.groupAt.get(place);
  const adapted = withLora(builder, place, ids, () => h);
  if (group === undefined) return adapted;
  const delta = builder.given(`delta.${group}`, "float32", h.dims);
  builder.step({ kind: "begin-ids", group });
  builder.step({ kind: "wait", group, value: delta.name });
  builder.cut();
  return builder.node("Add", [adapted, delta], [{ dims: h.dims }])[0];
}

/** Where the rows of an expert layer go. */
export interface RouteValues {
  /** (routes) int64: the row of x that each route has; undefined: route i has row i */
  readonly rows: Value | undefined;
  /** (routes) int64 */
  readonly experts: Value;
}

/** base() + delta for experts: x (1, rows, in) → (1, routes, out). Cuts the graph if a DeltaSource adds to them. */
export function routed(
  builder: SegmentBuilder,
  place: LinearPlace,
  x: Value,
  { rows, experts }: RouteValues,
  base: () => Value,
): Value {
  const group = builder.plan.groupAt.get(place);
  if (group === undefined) return base();
  const delta = builder.given(`delta.${group}`, "float32", [1, "routes", place.outFeatures[0]]);
  for (const value of [x, experts, ...(rows ? [rows] : [])]) builder.expose(value);
  builder.step({ kind: "begin-routed", group, value: x.name, rows: rows?.name, experts: experts.name });
  builder.cut();
  const y = base();
  builder.step({ kind: "wait", group, value: delta.name });
  builder.cut();
  return builder.node("Add", [y, delta], [{ dims: y.dims }])[0];
}

/**
 * What the base makes of x at a place, and what an adapter that is here adds to it. Of an embedding x is the ids.
 *
 * @param base given the name of what comes out, where nothing is added
 */
export function withLora(
  builder: SegmentBuilder,
  place: LinearPlace,
  x: Value,
  base: (name?: string) => Value,
  name?: string,
): Value {
  return builder.plan.loras.has(place) ? addLora(builder, place, x, base(), name) : base(name);
}

/** y = [W_1; W_2; …]·x + b. The modules' weights are one matrix, so that one product makes all outputs. */
export function placeProduct(builder: SegmentBuilder, place: LinearPlace, x: Value, name?: string): Value {
  builder.toProducts();
  const added = biasesOf(builder, place);
  if (added.length === 0) return weightsProduct(builder, place, x, name);
  return addAll(builder, weightsProduct(builder, place, x), added, name);
}

/** y = s ⊙ [W_1; W_2; …]·x, without a bias; s is 1 unless an adapter has changed it. */
export function weightsProduct(builder: SegmentBuilder, place: LinearPlace, x: Value, name?: string): Value {
  const { modules, inFeatures, outFeatures, storedInOut = false, isHead = false, exact = false } = place;
  const { changes } = builder.plan;
  const tensors = weightsOf(place);
  const matrix: Matrix = { tensors, outFeatures, inFeatures, storedInOut, isHead, exact };
  const replaced = modules.map((module, i) => changes.tensor(`${module}.weight`, storedShape(matrix, i)));
  const rows = isHead ? changes.tokens(modules[0], outFeatures[0], inFeatures) : undefined;
  const scales = changes.scales(modules, outFeatures);
  const steps: ((y: Value | undefined, output: NonNullable<OutputSpec>) => Value)[] = [];
  if (replaced.includes(undefined)) steps.push((_, output) => matrixProduct(builder, matrix, x, output));
  if (replaced.some(Boolean))
    steps.push((y, output) => replaceModules(builder, place, x, y, replaced, output));
  if (rows) steps.push((y, output) => replaceRows(builder, place, x, y!, rows, output));
  if (scales) steps.push((y, output) => scaleRows(builder, y!, scales, output));
  const dims = [...x.dims.slice(0, 2), sum(outFeatures)];
  let y: Value | undefined;
  for (const [i, step] of steps.entries())
    y = step(y, outputOf(dims, i === steps.length - 1 ? name : undefined));
  return y!;
}

/** y + b */
export function addBias(builder: SegmentBuilder, place: LinearPlace, y: Value): Value {
  return addAll(builder, y, biasesOf(builder, place));
}

/** What is added to a place's product: b, and what an adapter adds to it. */
function biasesOf(builder: SegmentBuilder, { modules, outFeatures, bias }: LinearPlace): string[] {
  const own = bias ? modules.map((name, i) => builder.weight(`${name}.bias`, [outFeatures[i]])) : [];
  const added = builder.plan.changes.biases(modules, outFeatures);
  return [
    ...(bias ? [joinTensors(builder, own, 0)] : []),
    ...(added ? [builder.graph.constant([added.length], added)] : []),
  ];
}

function addAll(builder: SegmentBuilder, y: Value, biases: readonly string[], name?: string): Value {
  const last = biases.length - 1;
  return biases.reduce(
    (sum, bias, i) => builder.node("Add", [sum, bias], [outputOf(y.dims, i === last ? name : undefined)])[0],
    y,
  );
}

function outputOf(dims: Dims, name: string | undefined): NonNullable<OutputSpec> {
  return name === undefined ? { dims } : { dims, name };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
