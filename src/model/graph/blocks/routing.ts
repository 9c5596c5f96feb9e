/** Which experts a token goes to, and bringing its rows there and back. */

import type { Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { reshape } from "./reshape.ts";

/**
 * The (token, expert) pairs of a pass, "routes": k for each token, n = tokens·k in all. Sorted by expert, so that the
 * rows of one expert stand together, and experts that nobody has chosen have none: their products are of no rows.
 */
export interface Routes {
  readonly experts: number;
  /** k: experts of each token. */
  readonly chosen: number;
  /** (1, tokens, k): what each expert's output is multiplied by. */
  readonly weights: Value;
  /** (n) int64: the expert of each route, sorted. */
  readonly expertOf: Value;
  /** (n) int64: the token of each sorted route. */
  readonly tokenOf: Value;
  /** (n) int64: where route k·token + i stands among the sorted ones. */
  readonly placeOf: Value;
  /** (experts) int64: how many routes each has. */
  readonly counts: Value;
}

/**
 * The k experts with the largest scores of each token; the weights are their shares of softmax(scores).
 *
 * @param scores (1, tokens, experts)
 * @param normalized the shares of the chosen ones are divided by their sum
 */
export function route(
  builder: SegmentBuilder,
  scores: Value,
  { experts, chosen, normalized }: Pick<Routes, "experts" | "chosen"> & { readonly normalized: boolean },
): Routes {
  const { graph } = builder;
  const perToken = { dims: [1, "tokens", chosen] };
  const ids = { ...perToken, type: "int64" } as const;
  const list = { dims: ["routes"], type: "int64" } as const;
  const softmax = (x: Value): Value =>
    builder.node("Softmax", [x], [{ dims: x.dims }], { attributes: { axis: -1 } })[0];
  const largest = graph.constant([1], BigInt64Array.of(BigInt(chosen)));
  const of = normalized ? scores : softmax(scores);
  const [top, chosenIds] = builder.node("TopK", [of, largest], [perToken, ids], { attributes: { axis: -1 } });
  const flat = reshape(builder, chosenIds, ["routes"]);
  const [count] = builder.node("Shape", [flat], [{ dims: [1], type: "int64" }]);
  // Of equal ones the first comes first.
  const sorted = (x: Value): Value[] =>
    builder.node("TopK", [x, count], [list, list], { attributes: { axis: 0, largest: 0 } });
  const [expertOf, routeOf] = sorted(flat);
  const [, placeOf] = sorted(routeOf);
  const perRoute = graph.constant([1], BigInt64Array.of(BigInt(chosen)));
  const [tokenOf] = builder.node("Div", [routeOf, perRoute], [list]);
  const depth = graph.constant([1], BigInt64Array.of(BigInt(experts)));
  const offOn = graph.constant([2], BigInt64Array.of(0n, 1n));
  const [there] = builder.node(
    "OneHot",
    [flat, depth, offOn],
    [{ dims: ["routes", experts], type: "int64" }],
  );
  const [counts] = builder.node(
    "ReduceSum",
    [there, graph.constant([1], BigInt64Array.of(0n))],
    [{ dims: [experts], type: "int64" }],
    { attributes: { keepdims: 0 } },
  );
  const weights = normalized ? softmax(top) : top;
  return { experts, chosen, weights, expertOf, tokenOf, placeOf, counts };
}

/** The rows of each route: x (1, tokens, width) → (1, n, width), sorted by expert. */
export function rowsOfRoutes(builder: SegmentBuilder, { tokenOf }: Routes, x: Value): Value {
  return gatherRows(builder, x, tokenOf);
}

/** x (1, any, width), indices (n) → (1, n, width) */
function gatherRows(builder: SegmentBuilder, x: Value, indices: Value): Value {
  const spec = { dims: [1, "routes", x.dims[2]] };
  return builder.node("Gather", [x, indices], [spec], { attributes: { axis: 1 } })[0];
}

/** Does something to the rows of each expert by themselves: x (1, n, width) → (1, n, any), sorted by expert. */
export function byExpert(
  builder: SegmentBuilder,
  { experts, counts }: Routes,
  x: Value,
  work: (expert: number, rows: Value) => Value,
): Value {
  const parts = builder.node(
    "Split",
    [x, counts],
    Array.from({ length: experts }, (_, expert) => ({ dims: [1, `routes.${expert}`, x.dims[2]] })),
    { attributes: { axis: 1 } },
  );
  const done = parts.map((rows, expert) => work(expert, rows));
  return builder.node("Concat", done, [{ dims: [1, "routes", done[0].dims[2]] }], {
    attributes: { axis: 1 },
  })[0];
}

/** What the routes of each token add up to, weighted: y (1, n, width), sorted by expert → (1, tokens, width). */
export function sumOfRoutes(builder: SegmentBuilder, { chosen, weights, placeOf }: Routes, y: Value): Value {
  const width = y.dims[2];
  const rows = reshape(builder, gatherRows(builder, y, placeOf), ["tokens", chosen, width]);
  const [sums] = builder.node(
    "MatMul",
    [reshape(builder, weights, ["tokens", 1, chosen]), rows],
    [{ dims: ["tokens", 1, width] }],
  );
  return reshape(builder, sums, [1, "tokens", width]);
}
