/** The product of a place whose weights an adapter has changed: whole modules, rows of a head, row scales. */
import type { ChangedTensor, TokenRows } from "../../weights/base-changes.ts";
import type { LinearPlace } from "./linear-place.ts";
import { timesRows } from "./matrix-product.ts";
import type { OutputSpec, Value } from "./onnx-graph.ts";
import type { SegmentBuilder } from "./segment-builder.ts";

/**
 * y with the outputs of replaced modules in their places: y is cut where they stand, and joined again.
 *
 * @param y undefined where all modules are replaced
 * @param replaced for each module of the place
 */
export function replaceModules(
  builder: SegmentBuilder,
  place: LinearPlace,
  x: Value,
  y: Value | undefined,
  replaced: readonly (ChangedTensor | undefined)[],
  output: NonNullable<OutputSpec>,
): Value {
  const dims = (width: number) => [...x.dims.slice(0, 2), width];
  const kept = y && split(builder, y, place.outFeatures, dims);
  const parts = place.outFeatures.map((width, i): Value => {
    const tensor = replaced[i];
    if (!tensor) return kept![i];
    const weight = builder.changed(tensor);
    const spec = place.modules.length === 1 ? output : { dims: dims(width) };
    if (place.storedInOut) return builder.node("MatMul", [x, weight], [spec])[0];
    return timesRows(builder, x, weight, spec);
  });
  if (parts.length === 1) return parts[0];
  return builder.node("Concat", parts, [output], { attributes: { axis: -1 } })[0];
}

function split(
  builder: SegmentBuilder,
  y: Value,
  widths: readonly number[],
  dims: (width: number) => readonly (number | string)[],
): Value[] {
  if (widths.length === 1) return [y];
  const sizes = builder.graph.constant([widths.length], BigInt64Array.from(widths, BigInt));
  return builder.node(
    "Split",
    [y, sizes],
    widths.map((width) => ({ dims: dims(width) })),
    { attributes: { axis: -1 } },
  );
}

/** y with y[ids] = rows·x: a head of which some tokens' rows are others. */
export function replaceRows(
  builder: SegmentBuilder,
  { inFeatures }: LinearPlace,
  x: Value,
  y: Value,
  { ids, rows }: TokenRows,
  output: NonNullable<OutputSpec>,
): Value {
  const lead = x.dims.slice(0, 2);
  const weight = builder.graph.constant([ids.length, inFeatures], rows);
  const spec = { dims: [...lead, ids.length] };
  const updates = timesRows(builder, x, weight, spec);
  const [shape] = builder.node("Shape", [updates], [{ dims: [3], type: "int64" }]);
  const places = builder.graph.constant([1, 1, ids.length], BigInt64Array.from(ids, BigInt));
  const [indices] = builder.node("Expand", [places, shape], [{ dims: spec.dims, type: "int64" }]);
  return builder.node("ScatterElements", [y, indices, updates], [output], { attributes: { axis: -1 } })[0];
}

/** s ⊙ y */
export function scaleRows(
  builder: SegmentBuilder,
  y: Value,
  scales: Float32Array,
  output: NonNullable<OutputSpec>,
): Value {
  return builder.node("Mul", [y, builder.graph.constant([scales.length], scales)], [output])[0];
}

/**
 * h with the rows of some tokens instead of their own: h (1, tokens, width), ids (1, tokens).
 *
 * @param vocabSize rows of the whole table
 */
export function replaceEmbeddings(
  builder: SegmentBuilder,
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
  const [position] = builder.node(
    "Gather",
    [builder.graph.constant([vocabSize], positions), ids],
    [{ dims: tokenDims, type: "int32" }],
  );
  const [found] = builder.node(
    "Gather",
    [builder.graph.constant([tokens.length + 1, width], table), position],
    [{ dims: h.dims }],
  );
  const [isNobody] = builder.node(
    "Equal",
    [position, builder.graph.constant([1], Int32Array.of(0))],
    [{ dims: tokenDims, type: "bool" }],
  );
  const axis = builder.graph.constant([1], BigInt64Array.of(-1n));
  const [choice] = builder.node("Unsqueeze", [isNobody, axis], [{ dims: [...tokenDims, 1], type: "bool" }]);
  return builder.node("Where", [choice, h, found], [{ dims: h.dims }])[0];
}
