/** The product of a place whose weights an adapter has changed: whole modules, rows of a head, row scales. */
import type { ChangedTensor, TokenRows } from "../../weights/base-changes.ts";
import type { LinearPlace } from "./linear-place.ts";
import type { Attribute, OnnxGraph, OutputSpec, Value } from "./onnx-graph.ts";

interface GraphWriter {
  readonly graph: OnnxGraph;
  node(
    opType: string,
    inputs: readonly (Value | string)[],
    outputs: readonly OutputSpec[],
    options?: { readonly attributes?: Readonly<Record<string, Attribute>>; readonly domain?: string },
  ): Value[];
  timesRows(x: Value, weight: string, output: NonNullable<OutputSpec>): Value;
  /** A changed tensor as float32 in the current graph. */
  changed(tensor: ChangedTensor): string;
}

/**
 * y with the outputs of replaced modules in their places: y is cut where they stand, and joined again.
 *
 * @param y undefined where all modules are replaced
 * @param replaced for each module of the place
 */
export function replaceModules(
  writer: GraphWriter,
  place: LinearPlace,
  x: Value,
  y: Value | undefined,
  replaced: readonly (ChangedTensor | undefined)[],
  output: NonNullable<OutputSpec>,
): Value {
  const dims = (width: number) => [...x.dims.slice(0, 2), width];
  const kept = y && split(writer, y, place.outFeatures, dims);
  const parts = place.outFeatures.map((width, i): Value => {
    const tensor = replaced[i];
    if (!tensor) return kept![i];
    const weight = writer.changed(tensor);
    const spec = place.modules.length === 1 ? output : { dims: dims(width) };
    if (place.storedInOut) return writer.node("MatMul", [x, weight], [spec])[0];
    return writer.timesRows(x, weight, spec);
  });
  if (parts.length === 1) return parts[0];
  return writer.node("Concat", parts, [output], { attributes: { axis: -1 } })[0];
}

function split(
  writer: GraphWriter,
  y: Value,
  widths: readonly number[],
  dims: (width: number) => readonly (number | string)[],
): Value[] {
  if (widths.length === 1) return [y];
  const sizes = writer.graph.constant([widths.length], BigInt64Array.from(widths, BigInt));
  return writer.node(
    "Split",
    [y, sizes],
    widths.map((width) => ({ dims: dims(width) })),
    { attributes: { axis: -1 } },
  );
}

/** y with y[ids] = rows·x: a head of which some tokens' rows are others. */
export function replaceRows(
  writer: GraphWriter,
  { inFeatures }: LinearPlace,
  x: Value,
  y: Value,
  { ids, rows }: TokenRows,
  output: NonNullable<OutputSpec>,
): Value {
  const lead = x.dims.slice(0, 2);
  const weight = writer.graph.constant([ids.length, inFeatures], rows);
  const spec = { dims: [...lead, ids.length] };
  const updates = writer.timesRows(x, weight, spec);
  const [shape] = writer.node("Shape", [updates], [{ dims: [3], type: "int64" }]);
  const places = writer.graph.constant([1, 1, ids.length], BigInt64Array.from(ids, BigInt));
  const [indices] = writer.node("Expand", [places, shape], [{ dims: spec.dims, type: "int64" }]);
  return writer.node("ScatterElements", [y, indices, updates], [output], { attributes: { axis: -1 } })[0];
}

/** s ⊙ y */
export function scaleRows(
  writer: GraphWriter,
  y: Value,
  scales: Float32Array,
  output: NonNullable<OutputSpec>,
): Value {
  return writer.node("Mul", [y, writer.graph.constant([scales.length], scales)], [output])[0];
}

/**
 * h with the rows of some tokens instead of their own: h (1, tokens, width), ids (1, tokens).
 *
 * @param vocabSize rows of the whole table
 */
export function replaceEmbeddings(
  writer: GraphWriter,
  h: Value,
  ids: Value,
  { ids: tokens, rows }: TokenRows,
  vocabSize: number,
): Value {
  const width = rows.length / tokens.length;
  // Where a token's row stands in a table whose row 0 is nobody's.
  const positions = new Int32Array(vocabSize);
  for (const [i, token] of tokens.entries()) positions[token] = i + 1;
  const table = new Float32Array((tokens.length + 1) * width);
  table.set(rows, width);
  const tokenDims = ids.dims;
  const [position] = writer.node(
    "Gather",
    [writer.graph.constant([vocabSize], positions), ids],
    [{ dims: tokenDims, type: "int32" }],
  );
  const [found] = writer.node(
    "Gather",
    [writer.graph.constant([tokens.length + 1, width], table), position],
    [{ dims: h.dims }],
  );
  const [isNobody] = writer.node(
    "Equal",
    [position, writer.graph.constant([1], Int32Array.of(0))],
    [{ dims: tokenDims, type: "bool" }],
  );
  const axis = writer.graph.constant([1], BigInt64Array.of(-1n));
  const [choice] = writer.node("Unsqueeze", [isNobody, axis], [{ dims: [...tokenDims, 1], type: "bool" }]);
  return writer.node("Where", [choice, h, found], [{ dims: h.dims }])[0];
}
