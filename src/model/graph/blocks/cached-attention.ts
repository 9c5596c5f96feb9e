/** Causal attention over the KV cache, with or without rotary positions, grouped heads and a sliding window. */

import type { PassWriter } from "../modules/pass-writer.ts";
import { CONTRIB, type Dims, type Value } from "../onnx-graph.ts";
import { newRowsName, pastKeyName, pastValueName, presentKeyName, presentValueName } from "../pass-values.ts";
import type { HeadLayout } from "./head-layout.ts";
import { resizeHeads, spreadHeads } from "./head-layout.ts";
import { type LinearBias, linearBias } from "./linear-bias.ts";
import { type Rotary, rotaryTables } from "./rotary-tables.ts";

export interface AttendOptions {
  readonly layer: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layout: HeadLayout;
  readonly scale: number;
  readonly rotary: Rotary | null;
  readonly window: number | null;
  readonly softCap?: number;
  readonly sinks?: string;
  readonly linearBias?: LinearBias;
  readonly keysFrom?: number;
}

/**
 * softmax(scale·q·kᵀ)·v over the cache, which gains k and v of the new tokens; q and k are turned.
 * All values are (1, tokens, width), heads side by side.
 *
 * @param qkv either the three, or [q | k | v] in one value
 */
export function cachedAttention(
  pass: PassWriter,
  qkv: readonly [q: Value, k: Value, v: Value] | Value,
  options: AttendOptions,
): Value {
  const { layer, heads, kvHeads, headDim, layout, rotary, keysFrom = layer } = options;
  const { builder } = pass;
  const { past, total } = pass.given;
  const { cachedDim, parts } = layout;
  const widen = (x: Value, heads: number): Value =>
    resizeHeads(builder, x, heads, [headDim, cachedDim], parts);
  const turned = (x: Value, heads: number): Value =>
    widen(layout.isSpread ? spreadHeads(builder, x, heads, headDim, rotary!.dims) : x, heads);
  const inputs =
    "name" in qkv
      ? [widen(qkv, heads + 2 * kvHeads), "", ""]
      : [turned(qkv[0], heads), turned(qkv[1], kvHeads), widen(qkv[2], kvHeads)];
  const cache: Dims = [1, kvHeads, "capacity", cachedDim];
  const present: Dims = [1, kvHeads, "present", cachedDim];
  // The operator wants the last position, and takes the number of positions beside it.
  const [last] = builder.node(
    "Sub",
    [total, builder.graph.constant([1], Int32Array.of(1))],
    [{ dims: [1], type: "int32" }],
  );
  const [out, key, value] = builder.node(
    "GroupQueryAttention",
    [
      ...inputs,
      builder.given(pastKeyName(keysFrom), "float32", cache),
      builder.given(pastValueName(keysFrom), "float32", cache),
      last,
      total,
      ...optionalInputs(pass, options),
    ],
    [
      { dims: [1, "tokens", heads * cachedDim] },
      { dims: present, name: presentKeyName(layer) },
      { dims: present, name: presentValueName(layer) },
    ],
    { domain: CONTRIB, attributes: attributesOf(options) },
  );
  if (keysFrom === layer && builder.plan.keepsCache) {
    for (const all of [key, value]) builder.expose(all);
  } else if (keysFrom === layer) {
    // The operator gives the whole cache; only the new rows leave the graph.
    const rows: Dims = [1, kvHeads, "tokens", cachedDim];
    const axis = builder.graph.constant([1], Int32Array.of(2));
    const added = [key, value].map((x) => builder.node("Slice", [x, past, total, axis], [{ dims: rows }])[0]);
    const joined = { dims: [1, 2 * kvHeads, "tokens", cachedDim], name: newRowsName(layer) };
    builder.expose(builder.node("Concat", added, [joined], { attributes: { axis: 1 } })[0]);
  }
  return resizeHeads(builder, out, heads, [cachedDim, headDim], parts);
}

/** Tables of cos and sin, positions (none), a bias of the scores, sinks; none at the end that is not needed. */
function optionalInputs(
  pass: PassWriter,
  { rotary, layout, heads, linearBias: bias, sinks }: AttendOptions,
): (Value | string)[] {
  const inputs: (Value | string)[] = rotary ? [...rotaryTables(pass, rotary, layout.tableColumns)] : ["", ""];
  inputs.push("", bias ? linearBias(pass, bias) : "", sinks ? pass.builder.weight(sinks, [heads]) : "");
  while (inputs.at(-1) === "") inputs.pop();
  return inputs;
}

function attributesOf({ heads, kvHeads, scale, rotary, window, softCap }: AttendOptions) {
  return {
    num_heads: heads,
    kv_num_heads: kvHeads,
    scale: { float: scale },
    ...(rotary ? { do_rotary: 1, rotary_interleaved: rotary.pairs === "neighbours" ? 1 : 0 } : {}),
    // The token itself counts.
    ...(window === null ? {} : { local_window_size: window }),
    ...(softCap === undefined ? {} : { softcap: { float: softCap } }),
  };
}
