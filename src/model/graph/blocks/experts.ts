/** A mixture of experts: each token goes through a few of many gated MLPs, which a router chooses for it. */

import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { sliceName } from "../../weights/weight-source.ts";
import { type Activation, activate } from "./activation.ts";
import { reshape } from "./reshape.ts";
import {
  byExpert,
  chosenOfRoutes,
  chosenOfTokens,
  type Routes,
  route,
  rowsOfRoutes,
  sumOfRoutes,
} from "./routing.ts";

/** One of the two products of every expert. */
export interface ExpertMatrices {
  /** For each expert the names of its tensors, on each other; or the name of one tensor of all, (experts, …). */
  readonly tensors: readonly (readonly string[])[] | string;
  readonly outFeatures: readonly number[];
  readonly inFeatures: number;
  /** The tensors are stored (in, out). Default: (out, in). */
  readonly storedInOut?: boolean;
  /** Name of a tensor (experts, Σ outFeatures). */
  readonly bias?: string;
}

/** Between the two products, of which the first one's columns are gate and up. */
export type ExpertGate =
  /** act(gate)·up, of [gate | up]. */
  | { readonly kind: "halves"; readonly activation: Activation }
  /**
   * g·sigmoid(alpha·g)·(u + 1), g = min(gate, limit), u = clamp(up, ±limit), of gate and up in turn, column by column.
   */
  | { readonly kind: "clamped"; readonly alpha: number; readonly limit: number };

export interface ExpertLayer {
  readonly experts: number;
  /** Experts of each token. */
  readonly chosen: number;
  /** Whether the weights of the chosen ones add up to 1. */
  readonly normalized: boolean;
  readonly first: ExpertMatrices;
  readonly gate: ExpertGate;
  readonly second: ExpertMatrices;
}

/** What an adapter may add to: the experts' first products, and their second ones. */
export interface ExpertPlaces {
  readonly first: LinearPlace;
  readonly second: LinearPlace;
}

/**
 * Σ_e w_e·W₂ₑ·act(W₁ₑ·x) over the chosen experts e.
 *
 * Who adds to them is asked for all experts: for each token with x, then for each of its k routes with what that
 * expert has made of it. So nobody learns which experts those are.
 *
 * @param x (1, tokens, in)
 * @param scores (1, tokens, experts)
 */
export function mixExperts(
  builder: SegmentBuilder,
  layer: ExpertLayer,
  places: ExpertPlaces,
  x: Value,
  scores: Value,
): Value {
  const { experts, chosen, normalized, first, second } = layer;
  const routes = route(builder, scores, experts, chosen, normalized);
  const [made, delta] = builder.beside(places.first, x, () =>
    expertProducts(builder, first, places.first, routes, rowsOfRoutes(builder, routes, x)),
  );
  const inner = delta ? add(builder, made, chosenOfTokens(builder, routes, delta, widthOf(first))) : made;
  const hidden = activateExperts(builder, layer, inner);
  const [outer, deltas] = builder.beside(places.second, hidden, () =>
    expertProducts(builder, second, places.second, routes, hidden),
  );
  const y = deltas ? add(builder, outer, chosenOfRoutes(builder, routes, deltas, widthOf(second))) : outer;
  return sumOfRoutes(builder, routes, y);
}

function widthOf({ outFeatures }: ExpertMatrices): number {
  return outFeatures.reduce((sum, out) => sum + out, 0);
}

function add(builder: SegmentBuilder, x: Value, y: Value): Value {
  return builder.node("Add", [x, y], [{ dims: x.dims }])[0];
}

/** W_e·x + b_e for the rows of each expert: x (1, n, in) → (1, n, Σ out). An expert that has none costs no product. */
function expertProducts(
  builder: SegmentBuilder,
  matrices: ExpertMatrices,
  place: LinearPlace,
  routes: Routes,
  x: Value,
): Value {
  const { tensors, outFeatures, inFeatures, storedInOut, bias } = matrices;
  const width = widthOf(matrices);
  const { experts } = routes;
  const product = byExpert(builder, routes, x, (expert, rows) => {
    const own = typeof tensors === "string" ? [sliceName(tensors, expert, experts)] : tensors[expert];
    const matrix = { tensors: own, outFeatures, inFeatures };
    const output = { dims: [1, rows.dims[1], width] };
    const y = builder.product(storedInOut ? { ...matrix, storedInOut } : matrix, rows, output);
    return builder.addLoraOf(place.modules[expert], [inFeatures, width], rows, y);
  });
  if (bias === undefined) return product;
  const all = builder.weight(bias, [experts, width]);
  const [added] = builder.node("Gather", [all, routes.expertOf], [{ dims: ["routes", width] }], {
    attributes: { axis: 0 },
  });
  return add(builder, product, added);
}

/** (1, n, 2·width) → (1, n, width) */
function activateExperts(builder: SegmentBuilder, { gate, second }: ExpertLayer, x: Value): Value {
  const width = second.inFeatures;
  const spec = { dims: [1, "routes", width] };
  if (gate.kind === "halves") {
    const [one, two] = halves(builder, x, spec.dims);
    return builder.node("Mul", [activate(builder, one, gate.activation), two], [spec])[0];
  }
  const pairs = reshape(builder, x, ["routes", width, 2]);
  const [one, two] = halves(builder, pairs, ["routes", width, 1]).map((part) =>
    reshape(builder, part, spec.dims),
  );
  const bound = (value: number): string => builder.graph.constant([], Float32Array.of(value));
  const [g] = builder.node("Clip", [one, "", bound(gate.limit)], [spec]);
  const [u] = builder.node("Clip", [two, bound(-gate.limit), bound(gate.limit)], [spec]);
  const attributes = { alpha: { float: gate.alpha } };
  const [glu] = builder.node("QuickGelu", [g], [spec], { domain: CONTRIB, attributes });
  const [more] = builder.node("Add", [u, bound(1)], [spec]);
  return builder.node("Mul", [glu, more], [spec])[0];
}

function halves(builder: SegmentBuilder, x: Value, dims: Value["dims"]): Value[] {
  return builder.node("Split", [x], [{ dims }, { dims }], { attributes: { axis: -1, num_outputs: 2 } });
}
