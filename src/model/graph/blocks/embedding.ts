/** From ids to what the first layer reads. */

import { replaceEmbeddings, scaleRows } from "../changed-product.ts";
import type { Decoder, PerLayerEmbedding } from "../decoder.ts";
import { addToEmbedding } from "../linear-layer.ts";
import { type LinearPlace, weightsOf } from "../linear-place.ts";
import { matrixProduct } from "../matrix-product.ts";
import type { PassWriter } from "../modules/pass-writer.ts";
import type { ElementType, Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { splitColumns } from "./columns.ts";
import { norm } from "./norm.ts";
import { reshape } from "./reshape.ts";

/** h = norm(scale·(table[ids] + delta) + positions[offset + position]) (1, tokens, hidden) */
export function embedTokens(pass: PassWriter, decoder: Decoder): Value {
  const { builder, given } = pass;
  const { embedding, hiddenSize } = decoder;
  const { place, scale = 1, positions, perLayer } = embedding;
  let h = placeRows(builder, place, given.ids);
  if (scale !== 1) h = scaled(builder, h, scale);
  if (positions) {
    builder.toConversation();
    const shape = [positions.rows, hiddenSize] as const;
    const placed = rowsOf(builder, positions.weight, shape, positionRows(pass, positions.offset));
    [h] = builder.node("Add", [h, placed], [{ dims: h.dims }]);
  }
  if (embedding.norm) h = norm(builder, h, embedding.norm);
  if (perLayer) pass.perLayer = embedPerLayer(pass, h, perLayer, decoder.layers);
  return h;
}

/** Each layer's part of the second embedding, (1, tokens, width). */
function embedPerLayer(pass: PassWriter, h: Value, of: PerLayerEmbedding, layers: number): Value[] {
  const { builder, given } = pass;
  const all = layers * of.width;
  const hiddenSize = of.hiddenSize;
  const table = rowsOf(builder, of.weight, [of.rows, all], given.ids);
  const matrix = { tensors: [of.projection], outFeatures: [all], inFeatures: hiddenSize };
  const projected = scaled(
    builder,
    matrixProduct(builder, matrix, h, { dims: [1, "tokens", all] }),
    hiddenSize ** -0.5,
  );
  const byLayer = norm(builder, reshape(builder, projected, [1, "tokens", layers, of.width]), of.norm);
  const flat = reshape(builder, byLayer, [1, "tokens", all]);
  const [sum] = builder.node(
    "Add",
    [flat, scaled(builder, table, Math.sqrt(of.width))],
    [{ dims: flat.dims }],
  );
  return splitColumns(builder, scaled(builder, sum, Math.SQRT1_2), Array(layers).fill(of.width));
}

/** s ⊙ E[ids_t] + delta_t, with the rows of single tokens that an adapter has changed. */
function placeRows(builder: SegmentBuilder, place: LinearPlace, ids: Value): Value {
  const { modules, inFeatures: vocabSize, outFeatures } = place;
  const [width] = outFeatures;
  const { changes } = builder.plan;
  const shape = [vocabSize, width];
  const changed = changes.tensor(`${modules[0]}.weight`, shape);
  const table = changed ? builder.inline(changed) : builder.baseWeight(weightsOf(place)[0], shape);
  let h = lookUp(builder, table, width, ids);
  const rows = changes.tokens(modules[0], vocabSize, width);
  if (rows) h = replaceEmbeddings(builder, h, ids, rows, vocabSize);
  const scales = changes.scales(modules, outFeatures);
  if (scales) h = scaleRows(builder, h, scales, { dims: h.dims });
  return addToEmbedding(builder, place, ids, h);
}

/**
 * x_t = table[ids_t]: ids (1, tokens) → (1, tokens, width). The rows are widened after the look-up, so that the
 * table stays in the file as it is.
 */
function rowsOf(
  builder: SegmentBuilder,
  weight: string,
  shape: readonly [rows: number, width: number],
  ids: Value,
): Value {
  return lookUp(builder, builder.storedWeight(weight, shape), shape[1], ids);
}

function lookUp(
  builder: SegmentBuilder,
  { stored, type }: { readonly stored: string; readonly type: ElementType },
  width: number,
  ids: Value,
): Value {
  const dims = [1, "tokens", width];
  const [rows] = builder.node("Gather", [stored, ids], [{ dims, type }]);
  if (type === "float32") return rows;
  return builder.node("Cast", [rows], [{ dims }], { attributes: { to: 1 } })[0];
}

function positionRows(pass: PassWriter, offset: number): Value {
  const positions = pass.positions();
  if (offset === 0) return positions;
  const constant = pass.builder.graph.constant([1], Int32Array.of(offset));
  return pass.builder.node("Add", [positions, constant], [{ dims: positions.dims, type: "int32" }])[0];
}

function scaled(builder: SegmentBuilder, x: Value, factor: number): Value {
  const constant = builder.graph.constant([1], Float32Array.of(factor));
  return builder.node("Mul", [x, constant], [{ dims: x.dims }])[0];
}
