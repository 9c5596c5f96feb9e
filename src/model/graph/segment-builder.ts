/**
 * Writes a forward pass as a chain of graphs.
 *
 * An architecture writes the pass once, as if it were one graph. Whoever has to stop it (linear-layer.ts, where someone
 * else adds to a linear layer) calls `cut`. A value that is used after a cut becomes an output of the graph that made it
 * and an input of each graph that uses it; where nothing is adapted, nothing is cut.
 */

import { TacetError } from "../../base/errors.ts";
import type { ChangedTensor } from "../../weights/base-changes.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { Matrix, QuantizedMatrix, WeightSource } from "../weights/weight-source.ts";
import type { ChangesInUse } from "./changes-in-use.ts";
import type { LinearPlace } from "./linear-place.ts";
import { isLoraName } from "./lora-inputs.ts";
import {
  type Attribute,
  type Dims,
  type ElementType,
  elementTypeOf,
  type GraphValue,
  OnnxGraph,
  type OutputSpec,
  type Value,
} from "./onnx-graph.ts";
import type { Pair } from "./pair.ts";

/** What happens after a segment has run: a group's deltas, or a pair's, are asked for, or waited for. */
export type SegmentStep =
  | {
      readonly kind: "begin" | "wait";
      readonly group: number;
      /** begin: the name of x; wait: the name that the deltas get. */
      readonly value: string;
    }
  /** As begin, with the tokens' ids instead of x. */
  | { readonly kind: "begin-ids"; readonly group: number }
  /** As begin, with the names of the routes' rows (undefined: route i has row i) and experts. */
  | {
      readonly kind: "begin-routed";
      readonly group: number;
      readonly value: string;
      readonly rows: string | undefined;
      readonly experts: string;
    }
  | { readonly kind: "ask-pair" | "take-pair"; readonly pair: Pair };

export interface Segment {
  readonly graph: OnnxGraph;
  readonly steps: readonly SegmentStep[];
  /** It looks rows up in tables, which stay with the processor. */
  readonly onHost: boolean;
  /** Each row of what it makes follows from the same row of what it is given: rows of several passes can be run at once. */
  readonly isByRow: boolean;
}

export interface SegmentPlan {
  /** Place → index of the DeltaSource's group there. */
  readonly groupAt: ReadonlyMap<LinearPlace, number>;
  /** Two such places with only a residual and a norm between them become a pair (pair.ts). */
  readonly pairable: ReadonlySet<LinearPlace>;
  /** Places of which an adapter's matrices are given with each run (lora-inputs.ts). */
  readonly loras: ReadonlySet<LinearPlace>;
  /** What stands instead of the base's own. */
  readonly changes: ChangesInUse;
  /** The pass runs on another device than the processor. Default: false. */
  readonly onDevice?: boolean;
  /** Keys and values stay there from pass to pass (CacheShape.isOnDevice). Default: false. */
  readonly keepsCache?: boolean;
  /** Weights are read in segments by themselves, which several conversations can run at once. Default: false. */
  readonly sharesProducts?: boolean;
}

export class SegmentBuilder {
  readonly plan: SegmentPlan;
  readonly #weights: WeightSource;
  readonly #segments: Written[] = [newSegment("s0")];

  constructor(weights: WeightSource, plan: SegmentPlan) {
    this.#weights = weights;
    this.plan = plan;
  }

  /** What happens behind a segment without a node happens behind the one before it. */
  finish(): readonly Segment[] {
    const segments: (Segment & { readonly steps: SegmentStep[] })[] = [];
    for (const { graph, steps, onHost } of this.#segments) {
      if (graph.isEmpty && segments.length > 0) segments.at(-1)!.steps.push(...steps);
      else {
        const canShare = this.plan.sharesProducts === true && isByRow(graph);
        segments.push({ graph, steps: [...steps], onHost, isByRow: canShare });
      }
    }
    return segments;
  }

  /** The graph that nodes go into now. */
  get graph(): OnnxGraph {
    return this.#current.graph;
  }

  /** Whether the graph that nodes go into now has a value, and need not be given it. */
  isHere(value: Value): boolean {
    return value.segment === this.#segments.length - 1;
  }

  /** A tensor that the caller of each run gives. */
  given(name: string, type: ElementType, dims: Dims): Value {
    return { name, type, dims, segment: -1 };
  }

  /** Adds a node. Strings among the inputs are initializers of the current graph, "" an optional one left out. */
  node(
    opType: string,
    inputs: readonly (Value | string)[],
    outputs: readonly OutputSpec[],
    options: { readonly attributes?: Readonly<Record<string, Attribute>>; readonly domain?: string } = {},
  ): Value[] {
    const segment = this.#segments.length - 1;
    const values = outputs.map((spec) => ({
      name: spec ? (spec.name ?? this.graph.freshName(opType)) : "",
      type: spec?.type ?? "float32",
      dims: spec?.dims ?? [],
      segment,
    }));
    this.graph.node(
      opType,
      inputs.map((input) => (typeof input === "string" ? input : this.#use(input))),
      values.map(({ name }) => name),
      { ...options, outputs },
    );
    return values;
  }

  /** Makes a value an output that the caller of each run gets, under the name it has. */
  expose(value: Value): void {
    this.#segments[value.segment].graph.output(value);
  }

  /** A weight as float32, widened by the runtime when it loads. */
  weight(name: string, shape: readonly number[]): string {
    const { stored, type } = this.storedWeight(name, shape);
    return type === "float32" ? stored : this.graph.cast(stored, "float32");
  }

  /** A weight as it is in the file, or what has taken its place. */
  storedWeight(name: string, shape: readonly number[]): { stored: string; type: ElementType } {
    const changed = this.plan.changes.tensor(name, shape);
    return changed ? this.inline(changed) : this.baseWeight(name, shape);
  }

  /** A changed tensor as it is stored. */
  inline(tensor: ChangedTensor): { stored: string; type: ElementType } {
    const type = elementTypeOf(tensor)!;
    return { stored: this.graph.inlineWeight(tensor.shape, type, tensor.bytes), type };
  }

  /** A changed tensor as float32. */
  changed(tensor: ChangedTensor): string {
    const { stored, type } = this.inline(tensor);
    return type === "float32" ? stored : this.graph.cast(stored, "float32");
  }

  /** A weight of the base model as it is in the file, whatever has taken its place elsewhere. */
  baseWeight(name: string, shape: readonly number[]): { stored: string; type: ElementType } {
    const { tree, info } = this.#weights.tensor(name, shape);
    const type = elementTypeOf(info);
    if (!type) {
      const what = `${info.path}: tensor ${quoteName(name)} is stored as ${info.dtype}`;
      throw new TacetError("unsupported_model", what, { hint: "weights in F32, F16 and BF16 can be read" });
    }
    return { stored: this.graph.weight(tree, info, type), type };
  }

  /** A matrix in rounded blocks, where the weights are held so. */
  quantized(matrix: Matrix): QuantizedMatrix | undefined {
    return this.#weights.quantized(matrix);
  }

  #use(value: Value): string {
    if (this.isHere(value)) return value.name;
    if (value.segment >= 0) this.expose(value);
    this.graph.input(value);
    return value.name;
  }

  /** What happens after the segment that nodes go into now. */
  step(step: SegmentStep): void {
    this.#current.steps.push(step);
  }

  /** From here on nodes go into a new segment. */
  cut(): void {
    this.#segments.push(newSegment(`s${this.#segments.length}`));
  }

  /** What comes now depends on what one conversation has read, and stands apart from products that several can share. */
  toConversation(): void {
    if (!this.plan.sharesProducts) return;
    if (this.#current.hasProducts) this.cut();
    this.#current.isConversation = true;
  }

  /** A product of weights comes now: it stands apart from what depends on one conversation. */
  toProducts(): void {
    if (this.#current.isConversation) this.cut();
    this.#current.hasProducts = true;
  }

  get #current(): Written {
    return this.#segments[this.#segments.length - 1];
  }

  /**
   * All that was written so far looks rows up in the embedding's tables: with another device it stays with the processor,
   * so that no table is copied there.
   */
  endOfTables(): void {
    if (!this.plan.onDevice) return;
    for (const segment of this.#segments) segment.onHost = true;
    this.cut();
  }
}

interface Written {
  readonly graph: OnnxGraph;
  readonly steps: SegmentStep[];
  onHost: boolean;
  hasProducts: boolean;
  /** Products that come now have to stand in the next one. */
  isConversation: boolean;
}

function newSegment(name: string): Written {
  return { graph: new OnnxGraph(name), steps: [], onHost: false, hasProducts: false, isConversation: false };
}

/** Whether all it is given are rows of tokens, or the same for every pass. */
function isByRow({ inputs, outputs }: OnnxGraph): boolean {
  const ofRows = ({ dims }: GraphValue): boolean =>
    dims[0] === 1 && (dims[1] === "tokens" || dims[1] === "rows");
  return outputs.every(ofRows) && inputs.every((input) => isLoraName(input.name) || ofRows(input));
}
