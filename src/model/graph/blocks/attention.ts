/** Causal attention over the KV cache, with or without rotary positions, grouped heads and a sliding window. */

import { type PassInputs, newRowsName, pastKeyName, pastValueName } from "../pass-values.ts";
import type { Value } from "../onnx-graph.ts";
import { CONTRIB, type Dims, type OnnxGraph } from "../onnx-graph.ts";
import { type Rope, ropeTables } from "../rope.ts";
import type { SegmentBuilder } from "../segment-builder.ts";
import { cachedHeadDim, resizeHeads } from "./head-padding.ts";

export interface AttentionShape {
  readonly heads: number;
  /** Divides `heads`: query head h reads kv head floor(h·kvHeads/heads). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** What a layer multiplies its scores by. Default: 1/sqrt(headDim). */
  readonly scale?: (layer: number) => number;
  /** Without it nothing is turned. */
  readonly rotary?: {
    readonly rope: Rope;
    /** Entries of each head, from its first on, that are turned; even. */
    readonly dims: number;
    /** Which are turned together: (i, i + dims/2), for dims = headDim only, or (2i, 2i + 1). */
    readonly pairs: "halves" | "neighbours";
  };
}

/** The attention of all layers of one forward pass. */
export class CachedAttention {
  readonly #builder: SegmentBuilder;
  readonly #given: PassInputs;
  readonly #shape: AttentionShape;
  readonly #tables: { readonly cos: Float32Array; readonly sin: Float32Array; readonly columns: number };
  readonly #tableNames = new WeakMap<OnnxGraph, [cos: string, sin: string]>();

  constructor(builder: SegmentBuilder, given: PassInputs, shape: AttentionShape) {
    this.#builder = builder;
    this.#given = given;
    this.#shape = shape;
    const { rotary, headDim } = shape;
    if (rotary?.pairs === "halves" && rotary.dims !== headDim) {
      throw new RangeError("halves are turned in whole heads only");
    }
    if (rotary) {
      const { rope, dims, pairs } = rotary;
      // The operator takes a multiple of 8 pairs; the ones too many turn by nothing.
      const columns = pairs === "halves" ? cachedHeadDim(headDim) / 2 : 8 * Math.ceil(dims / 16);
      this.#tables = { ...ropeTables(rope, dims, given.maxPositions, columns), columns };
    } else {
      this.#tables = { cos: new Float32Array(0), sin: new Float32Array(0), columns: 0 };
    }
  }

  /**
   * softmax(scale·q·kᵀ)·v over the cache, which gains k and v of the new tokens; q and k are turned.
   * All values are (1, tokens, width), heads side by side.
   *
   * @param qkv either the three, or [q | k | v] in one value
   * @param window how many keys a token sees, itself the last; undefined: all
   */
  attend(layer: number, qkv: readonly [q: Value, k: Value, v: Value] | Value, window?: number): Value {
    const { heads, kvHeads, headDim, scale, rotary } = this.#shape;
    const builder = this.#builder;
    const { past, total } = this.#given;
    const cachedDim = cachedHeadDim(headDim);
    const parts = rotary?.pairs === "halves" ? 2 : 1;
    const widen = (x: Value, heads: number): Value =>
      resizeHeads(builder, x, heads, [headDim, cachedDim], parts);
    const inputs =
      "name" in qkv
        ? [widen(qkv, heads + 2 * kvHeads), "", ""]
        : [widen(qkv[0], heads), widen(qkv[1], kvHeads), widen(qkv[2], kvHeads)];
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
        builder.given(pastKeyName(layer), "float32", cache),
        builder.given(pastValueName(layer), "float32", cache),
        last,
        total,
        ...this.#rotaryTables(),
      ],
      [{ dims: [1, "tokens", heads * cachedDim] }, { dims: present }, { dims: present }],
      {
        domain: CONTRIB,
        attributes: {
          num_heads: heads,
          kv_num_heads: kvHeads,
          scale: { float: scale?.(layer) ?? 1 / Math.sqrt(headDim) },
          ...(rotary ? { do_rotary: 1, rotary_interleaved: rotary.pairs === "neighbours" ? 1 : 0 } : {}),
          // The token itself counts.
          ...(window === undefined ? {} : { local_window_size: window }),
        },
      },
    );
    // The operator gives the whole cache; only the new rows leave the graph.
    const rows: Dims = [1, kvHeads, "tokens", cachedDim];
    const axis = builder.graph.constant([1], Int32Array.of(2));
    const added = [key, value].map((x) => builder.node("Slice", [x, past, total, axis], [{ dims: rows }])[0]);
    const joined = { dims: [1, 2 * kvHeads, "tokens", cachedDim], name: newRowsName(layer) };
    builder.expose(builder.node("Concat", added, [joined], { attributes: { axis: 1 } })[0]);
    return resizeHeads(builder, out, heads, [cachedDim, headDim], parts);
  }

  /** One pair of tables for all layers of a graph. */
  #rotaryTables(): readonly string[] {
    if (!this.#shape.rotary) return [];
    const { graph } = this.#builder;
    let names = this.#tableNames.get(graph);
    if (!names) {
      const { cos, sin, columns } = this.#tables;
      const dims = [this.#given.maxPositions, columns];
      names = [graph.constant(dims, cos), graph.constant(dims, sin)];
      this.#tableNames.set(graph, names);
    }
    return names;
  }
}
