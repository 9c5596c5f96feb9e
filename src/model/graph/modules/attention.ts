/** Attention as a family describes it: from the product of q, k and v to what the output module reads. */

import { type AttendOptions, cachedAttention } from "../blocks/cached-attention.ts";
import { splitAlong, splitColumns } from "../blocks/columns.ts";
import { type HeadLayout, headLayout } from "../blocks/head-layout.ts";
import type { LinearBias } from "../blocks/linear-bias.ts";
import { type Norm, norm, normHeads } from "../blocks/norm.ts";
import { reshape } from "../blocks/reshape.ts";
import { hasLongTable, type Rotary } from "../blocks/rotary-tables.ts";
import { rotate } from "../blocks/rotate.ts";
import { scaleByPosition } from "../blocks/scale-by-position.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { Value } from "../onnx-graph.ts";
import type { ModuleWriter } from "./module-writer.ts";
import type { PassWriter } from "./pass-writer.ts";

export interface Attention {
  readonly kind: "attention";
  readonly layer: number;
  /** q, k and v, in three modules or one. */
  readonly in: LinearPlace;
  /**
   * Columns of the product: all of q, of k, of v in turn; or for each kv head its query heads, its k and its v. */
  readonly columns: "parts" | "groups";
  readonly out: LinearPlace;
  readonly heads: number;
  /** Divides `heads`: query head h reads kv head floor(h·kvHeads/heads). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** What scores are multiplied by. */
  readonly scale: number;
  /** null: nothing is turned. */
  readonly rotary: Rotary | null;
  /** How many keys a token sees, itself the last; null: all. */
  readonly window: number | null;
  readonly normed?: {
    readonly q: Norm;
    readonly k: Norm;
    readonly v?: Norm;
    /** Each head by itself, or all of q and all of k. */
    readonly over: "head" | "all";
    /** Before or behind the rotation. */
    readonly when: "before" | "behind";
  };
  /** score = cap·tanh(score/cap) */
  readonly softCap?: number;
  /** Name of a tensor (heads): a score more for each head, of a key whose value is 0. */
  readonly sinks?: string;
  /** Scores fall with the distance. */
  readonly linearBias?: LinearBias;
  /** q at position p is multiplied by 1 + beta·ln(1 + floor(p / context)). */
  readonly queryScale?: { readonly beta: number; readonly context: number };
  /** q has a gate for each head, [q_h | g_h] for head h: what the head reads is multiplied by sigmoid(g). */
  readonly gated?: boolean;
  /** k is v too, before norms: `in` has q and k alone. */
  readonly valuesAreKeys?: boolean;
  /** An earlier layer whose keys and values are read: `in` has q alone, and nothing is kept. */
  readonly keysFrom?: number;
}

type Parts = readonly [q: Value, k: Value, v: Value];

export const attentionWriter: ModuleWriter<Attention> = {
  places: ({ in: first, out }) => [first, out],
  entry: ({ in: first }) => first,
  cache({ layer, kvHeads, headDim, keysFrom }) {
    if (keysFrom !== undefined) return undefined;
    return { layer, cache: { kvHeads, headDim: headLayout(headDim).cachedDim } };
  },
  write(pass, attention, entered) {
    pass.builder.toConversation();
    const isApart = turnsApart(pass, attention);
    const rotary = isApart ? null : attention.rotary;
    const layout = headLayout(attention.headDim, rotary);
    const [ungated, gate] = attention.gated ? splitGate(pass, attention, entered) : [entered];
    const parts = takeApart(pass, attention, ungated, layout);
    const options: AttendOptions = { ...attention, layout, rotary };
    const read = cachedAttention(pass, parts, options);
    if (!gate) return { place: attention.out, x: read };
    const [open] = pass.builder.node("Sigmoid", [gate], [{ dims: gate.dims }]);
    return { place: attention.out, x: pass.builder.node("Mul", [read, open], [{ dims: read.dims }])[0] };
  },
};

/** Whether q and k are turned before the attention operator, which else does it. */
function turnsApart(pass: PassWriter, { rotary, normed }: Attention): boolean {
  return rotary !== null && (normed?.when === "behind" || hasLongTable(pass, rotary));
}

/** q, k and v before rotation, or the product as it is where nothing is done to one of them. */
function takeApart(
  pass: PassWriter,
  attention: Attention,
  entered: Value,
  layout: HeadLayout,
): Parts | Value {
  const { columns, normed, keysFrom, valuesAreKeys } = attention;
  const queryScale = scaleWithin(pass, attention);
  const isApart = turnsApart(pass, attention);
  const asItIs = columns === "parts" && !normed && !queryScale && !layout.isSpread && !isApart;
  if (asItIs && keysFrom === undefined && !valuesAreKeys) return entered;
  const { builder } = pass;
  const { kvHeads, layer } = attention;
  if (keysFrom !== undefined) {
    const [k, v] = pass.keysAndValues.get(keysFrom)!;
    return [prepareQueries(pass, attention, entered), k, v];
  }
  let [q, k, v]: readonly Value[] =
    columns === "groups"
      ? splitGroups(pass, attention, entered)
      : splitParts(pass, attention, entered, layout);
  if (valuesAreKeys) v = k;
  q = prepareQueries(pass, attention, q);
  k = normAndTurn(pass, attention, k, kvHeads, normed?.k);
  if (normed?.v) v = normHeads(builder, v, kvHeads, normed.v);
  pass.keysAndValues.set(layer, [k, v]);
  return [q, k, v];
}

/** [q and gates | k | v] → [q | k | v] and the gates */
function splitGate({ builder }: PassWriter, attention: Attention, joined: Value): [Value, Value] {
  const { heads, kvHeads, headDim } = attention;
  const width = heads * headDim;
  const [both, rest] = splitColumns(builder, joined, [2 * width, 2 * kvHeads * headDim]);
  const byHead = reshape(builder, both, [1, "tokens", heads, 2 * headDim]);
  const [q, gate] = splitColumns(builder, byHead, [headDim, headDim]).map((part) =>
    reshape(builder, part, [1, "tokens", width]),
  );
  const dims = [1, "tokens", width + 2 * kvHeads * headDim];
  return [builder.node("Concat", [q, rest], [{ dims }], { attributes: { axis: -1 } })[0], gate];
}

/** Where positions end before it differs from 1 there is none. */
function scaleWithin({ given }: PassWriter, { queryScale }: Attention): Attention["queryScale"] {
  return queryScale && given.maxPositions > queryScale.context ? queryScale : undefined;
}

function prepareQueries(pass: PassWriter, attention: Attention, q: Value): Value {
  const { normed, heads } = attention;
  const queryScale = scaleWithin(pass, attention);
  const turned = normAndTurn(pass, attention, q, heads, normed?.q);
  return queryScale ? scaleByPosition(pass, turned, queryScale) : turned;
}

/** The norm, and the rotation before or behind it, as far as they are done apart. */
function normAndTurn(
  pass: PassWriter,
  attention: Attention,
  x: Value,
  heads: number,
  of: Norm | undefined,
): Value {
  const { normed, rotary, headDim } = attention;
  const turn = (y: Value): Value =>
    rotary && turnsApart(pass, attention) ? rotate(pass, y, heads, headDim, rotary) : y;
  if (!normed || !of) return turn(x);
  const normOf = (y: Value): Value =>
    normed.over === "all" ? norm(pass.builder, y, of) : normHeads(pass.builder, y, heads, of);
  return normed.when === "behind" ? normOf(turn(x)) : turn(normOf(x));
}

/** (1, tokens, (heads + 2·kvHeads)·headDim), or of q and k alone → those apart */
function splitParts(
  { builder }: PassWriter,
  { heads, kvHeads, headDim, valuesAreKeys, normed }: Attention,
  joined: Value,
  { cachedDim }: HeadLayout,
): Value[] {
  const counts = valuesAreKeys ? [heads, kvHeads] : [heads, kvHeads, kvHeads];
  // Where what comes next wants heads by themselves they are taken apart once.
  const next = normed ? normed.over === "head" && normed.when === "before" : cachedDim > headDim;
  if (next) {
    const all = counts.reduce((sum, count) => sum + count, 0);
    const parts = splitAlong(builder, reshape(builder, joined, [1, "tokens", all, headDim]), 2, counts);
    return parts.map((part, i) => reshape(builder, part, [1, "tokens", counts[i] * headDim]));
  }
  return splitColumns(
    builder,
    joined,
    counts.map((count) => count * headDim),
  );
}

/** (1, tokens, kvHeads·(g + 2)·headDim), of each kv head its g query heads, its k and its v → q, k, v apart */
function splitGroups({ builder }: PassWriter, attention: Attention, joined: Value): Value[] {
  const { heads, kvHeads, headDim } = attention;
  const sizes = [heads / kvHeads, 1, 1];
  const byGroup = reshape(builder, joined, [1, "tokens", kvHeads, heads / kvHeads + 2, headDim]);
  const parts = splitAlong(builder, byGroup, 3, sizes);
  return parts.map((part, i) => reshape(builder, part, [1, "tokens", kvHeads * sizes[i] * headDim]));
}
