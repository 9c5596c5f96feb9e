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
  experts: number,
  chosen: number,
  normalized: boolean,
): Routes {
  const { graph } = builder;
  const perToken = { dims: [1, "tokens", chosen] };
  const ids = { ...perToken, type: "int64" } as const;
  const list = { dims: ["routes"], type: "int64" } as const;
  const number = (value: number): string => graph.constant([1], BigInt64Array.of(BigInt(value)));
  const softmax = (x: Value): Value =>
    builder.node("Softmax", [x], [{ dims: x.dims }], { attributes: { axis: -1 } })[0];
  const of = normalized ? scores : softmax(scores);
  const [top, chosenIds] = builder.node("TopK", [of, number(chosen)], [perToken, ids], {
    attributes: { axis: -1 },
  });
  const flat = reshape(builder, chosenIds, ["routes"]);
  const [count] = builder.node("Shape", [flat], [{ dims: [1], type: "int64" }]);
  // Of equal ones the first comes first.
  const sorted = (x: Value): Value[] =>
    builder.node("TopK", [x, count], [list, list], { attributes: { axis: 0, largest: 0 } });
  const [expertOf, routeOf] = sorted(flat);
  const [, placeOf] = sorted(routeOf);
  const [tokenOf] = builder.node("Div", [routeOf, number(chosen)], [list]);
  const offOn = graph.constant([2], BigInt64Array.of(0n, 1n));
  const [there] = builder.node(
    "OneHot",
    [flat, number(experts), offOn],
    [{ dims: ["routes", experts], type: "int64" }],
  );
  const [counts] = builder.node("ReduceSum", [there, number(0)], [{ dims: [experts], type: "int64" }], {
    attributes: { keepdims: 0 },
  });
  const weights = normalized ? softmax(top) : top;
  return { experts, chosen, weights, expertOf, tokenOf, placeOf, counts };
}

const ALONG_ROWS = { attributes: { axis: 1 } };

/** The rows of each route: x (1, tokens, width) → (1, n, width), sorted by expert. */
export function rowsOfRoutes(builder: SegmentBuilder, { tokenOf }: Routes, x: Value): Value {
  return builder.node("Gather", [x, tokenOf], [{ dims: [1, "routes", x.dims[2]] }], ALONG_ROWS)[0];
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
    ALONG_ROWS,
  );
  const done = parts.map((rows, expert) => work(expert, rows));
  return builder.node("Concat", done, [{ dims: [1, "routes", done[0].dims[2]] }], ALONG_ROWS)[0];
}

/** What the routes of each token add up to, weighted: y (1, n, width), sorted by expert → (1, tokens, width). */
export function sumOfRoutes(builder: SegmentBuilder, { chosen, weights, placeOf }: Routes, y: Value): Value {
  const width = y.dims[2];
  const [inOrder] = builder.node("Gather", [y, placeOf], [{ dims: y.dims }], ALONG_ROWS);
  const rows = reshape(builder, inOrder, ["tokens", chosen, width]);
  const factors = reshape(builder, weights, ["tokens", 1, chosen]);
  const [sums] = builder.node("MatMul", [factors, rows], [{ dims: ["tokens", 1, width] }]);
  return reshape(builder, sums, [1, "tokens", width]);
}

/** Of rows for all experts beside each other, each token's for the routes: x (1, tokens, experts·width) → (1, n, width). */
export function chosenOfTokens(
  builder: SegmentBuilder,
  { experts, tokenOf, expertOf }: Routes,
  x: Value,
  width: number,
): Value {
  const column = (list: Value): Value => reshape(builder, list, ["routes", 1]);
  const [at] = builder.node(
    "Concat",
    [column(tokenOf), column(expertOf)],
    [{ dims: ["routes", 2], type: "int64" }],
    ALONG_ROWS,
  );
  const apart = reshape(builder, x, ["tokens", experts, width]);
  const [rows] = builder.node("GatherND", [apart, at], [{ dims: ["routes", width] }]);
  return reshape(builder, rows, [1, "routes", width]);
}

/** The same of rows of the routes: x (1, n, experts·width) → (1, n, width). */
export function chosenOfRoutes(
  builder: SegmentBuilder,
  { experts, expertOf }: Routes,
  x: Value,
  width: number,
): Value {
  const at = reshape(builder, expertOf, ["routes", 1]);
  const apart = reshape(builder, x, ["routes", experts, width]);
  const [rows] = builder.node("GatherND", [apart, at], [{ dims: ["routes", width] }], {
    attributes: { batch_dims: 1 },
  });
  return reshape(builder, rows, [1, "routes", width]);
}
