/** A mixture of experts: each token goes through a few of many gated MLPs, which a router chooses for it. */

import { sliceName } from "../../weights/weight-source.ts";
import { type RouteValues, routed } from "../linear-layer.ts";
import type { LinearPlace } from "../linear-place.ts";
import { addLora, expertOf } from "../lora-inputs.ts";
import { matrixProduct } from "../matrix-product.ts";
import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { type Activation, activate } from "./activation.ts";
import { splitColumns } from "./columns.ts";
import { byExpert, type Routes, route, rowsOfRoutes, sumOfRoutes } from "./routing.ts";

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
  /** All of them as a place that can be adapted; what it says of names is an adapter's spelling. */
  readonly place?: LinearPlace;
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

/**
 * Σ_e w_e·W₂ₑ·act(W₁ₑ·x) over the chosen experts e.
 *
 * @param x (1, tokens, in)
 * @param scores (1, tokens, experts)
 */
export function mixExperts(builder: SegmentBuilder, layer: ExpertLayer, x: Value, scores: Value): Value {
  const { first, second } = layer;
  const routes = route(builder, scores, layer);
  const inner = adapted(builder, first, x, { rows: routes.tokenOf, experts: routes.expertOf }, () =>
    expertProducts(builder, first, routes, rowsOfRoutes(builder, routes, x)),
  );
  const activated = activateExperts(builder, layer, inner);
  const outer = adapted(builder, second, activated, { rows: undefined, experts: routes.expertOf }, () =>
    expertProducts(builder, second, routes, activated),
  );
  return sumOfRoutes(builder, routes, outer);
}

function adapted(
  builder: SegmentBuilder,
  { place }: ExpertMatrices,
  x: Value,
  routes: RouteValues,
  base: () => Value,
): Value {
  return place ? routed(builder, place, x, routes, base) : base();
}

/** W_e·x + b_e for the rows of each expert: x (1, n, in) → (1, n, Σ out). An expert that has none costs no product. */
function expertProducts(
  builder: SegmentBuilder,
  { tensors, outFeatures, inFeatures, storedInOut, bias, place }: ExpertMatrices,
  routes: Routes,
  x: Value,
): Value {
  const width = outFeatures.reduce((sum, out) => sum + out, 0);
  const { experts } = routes;
  const product = byExpert(builder, routes, x, (expert, rows) => {
    const own = typeof tensors === "string" ? [sliceName(tensors, expert, experts)] : tensors[expert];
    const matrix = { tensors: own, outFeatures, inFeatures };
    const output = { dims: [...rows.dims.slice(0, 2), width] };
    const y = matrixProduct(builder, storedInOut ? { ...matrix, storedInOut } : matrix, rows, output);
    return place && builder.plan.loras.has(place) ? addLora(builder, expertOf(place, expert), rows, y) : y;
  });
  if (bias === undefined) return product;
  const all = builder.weight(bias, [experts, width]);
  const [added] = builder.node("Gather", [all, routes.expertOf], [{ dims: ["routes", width] }], {
    attributes: { axis: 0 },
  });
  return builder.node("Add", [product, added], [{ dims: product.dims }])[0];
}

/** (1, n, 2·width) → (1, n, width) */
function activateExperts(builder: SegmentBuilder, { gate, second }: ExpertLayer, x: Value): Value {
  const width = second.inFeatures;
  const spec = { dims: [1, "routes", width] };
  if (gate.kind === "halves") {
    const [one, two] = splitColumns(builder, x, [width, width]);
    return builder.node("Mul", [activate(builder, one, gate.activation), two], [spec])[0];
  }
  const [one, two] = [0, 1].map((first) => everySecond(builder, x, first, spec.dims));
  const bound = (value: number): string => builder.graph.constant([], Float32Array.of(value));
  const [g] = builder.node("Clip", [one, "", bound(gate.limit)], [spec]);
  const [u] = builder.node("Clip", [two, bound(-gate.limit), bound(gate.limit)], [spec]);
  const attributes = { alpha: { float: gate.alpha } };
  const [glu] = builder.node("QuickGelu", [g], [spec], { domain: CONTRIB, attributes });
  const [more] = builder.node("Add", [u, bound(1)], [spec]);
  return builder.node("Mul", [glu, more], [spec])[0];
}

/** Columns first, first + 2, … of x (1, n, any). */
function everySecond(builder: SegmentBuilder, x: Value, first: number, dims: Value["dims"]): Value {
  const bounds = [first, Number.MAX_SAFE_INTEGER, 2, 2].map((value) =>
    builder.graph.constant([1], BigInt64Array.of(BigInt(value))),
  );
  return builder.node("Slice", [x, ...bounds], [{ dims }])[0];
}
