/** What the modules of one forward pass share while it is written. */

import { reshape } from "../blocks/reshape.ts";
import type { OnnxGraph, Value } from "../onnx-graph.ts";
import type { PassInputs } from "../pass-values.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

export class PassWriter {
  readonly builder: SegmentBuilder;
  readonly given: PassInputs;
  /** Keys and values before rotation, by layer: for layers that read those of another one. */
  readonly keysAndValues = new Map<number, readonly [key: Value, value: Value]>();
  /** What each layer gets of the second embedding, (1, tokens, width). */
  perLayer: readonly Value[] = [];
  readonly #inGraph = new WeakMap<OnnxGraph, Map<string, unknown>>();
  readonly #computed = new Map<string, unknown>();

  constructor(builder: SegmentBuilder, given: PassInputs) {
    this.builder = builder;
    this.given = given;
  }

  /** Makes something once for each graph: small constants and nodes that are cheaper made again than carried over a cut. */
  onceInGraph<T>(name: string, make: () => T): T {
    const { graph } = this.builder;
    let made = this.#inGraph.get(graph);
    if (!made) this.#inGraph.set(graph, (made = new Map()));
    if (!made.has(name)) made.set(name, make());
    return made.get(name) as T;
  }

  /** Computes something once for the pass. */
  once<T>(name: string, make: () => T): T {
    if (!this.#computed.has(name)) this.#computed.set(name, make());
    return this.#computed.get(name) as T;
  }

  /** past, past + 1, …, total - 1: (1, tokens) int32 */
  positions(): Value {
    return this.onceInGraph("positions", () => {
      const { past, total } = this.given;
      return reshape(this.builder, this.#range(this.#scalar(past), "tokens", total), [1, "tokens"]);
    });
  }

  /** 0, 1, …, total - 1: (total) int32 */
  allPositions(): Value {
    return this.onceInGraph("allPositions", () =>
      this.#range(this.builder.graph.constant([], Int32Array.of(0)), "total", this.given.total),
    );
  }

  #scalar(value: Value): Value {
    return this.builder.node("Squeeze", [value], [{ dims: [], type: "int32" }])[0];
  }

  #range(start: Value | string, size: string, end: Value): Value {
    const one = this.builder.graph.constant([], Int32Array.of(1));
    const spec = { dims: [size], type: "int32" } as const;
    return this.builder.node("Range", [start, this.#scalar(end), one], [spec])[0];
  }
}
