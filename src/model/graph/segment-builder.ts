/**
 * Writes a forward pass as a chain of graphs that is cut where someone else adds to a linear layer.
 *
 * An architecture writes the pass once, as if it were one graph. A value that is used after a cut becomes an
 * output of the graph that made it and an input of each graph that uses it; where nothing is adapted, nothing is
 * cut.
 */

import { TacetError } from "../../base/errors.ts";
import type { ChangedTensor } from "../../weights/base-changes.ts";
import { quoteName } from "../../weights/json-file.ts";
import {
  type Matrix,
  type QuantizedMatrix,
  rowsOf,
  storedShape,
  type WeightSource,
} from "../weights/weight-source.ts";
import { replaceModules, replaceRows, scaleRows } from "./changed-product.ts";
import type { ChangesInUse } from "./changes-in-use.ts";
import { type LinearPlace, weightsOf } from "./linear-place.ts";
import { addLora, isLoraName } from "./lora-inputs.ts";
import {
  type Attribute,
  CONTRIB,
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

/** accuracy_level of MatMulNBits: x is rounded to 8 bits, in blocks as large, and the products are of integers. */
const INT8_ACTIVATIONS = 4;

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

  /**
   * y = [W_1; W_2; …]·x + b + delta for the modules of a place, side by side: x (1, tokens, in) → y (1, tokens, Σ out).
   * Cuts the graph if a DeltaSource adds to one of them.
   *
   * @param name of y
   */
  linear(place: LinearPlace, x: Value, name?: string): Value {
    const group = this.plan.groupAt.get(place);
    const product = (name?: string): Value => this.placeProduct(place, x, name);
    if (group === undefined) return this.adapted(place, x, product, name);
    const delta = this.given(`delta.${group}`, "float32", [...x.dims.slice(0, 2), sum(place.outFeatures)]);
    this.expose(x);
    this.step({ kind: "begin", group, value: x.name });
    this.cut();
    // Computed while the delta is on its way.
    const base = this.adapted(place, x, product);
    this.step({ kind: "wait", group, value: delta.name });
    this.cut();
    return this.node("Add", [base, delta], [outputOf(base.dims, name)])[0];
  }

  /** h + delta for an embedding: ids (1, tokens), h (1, tokens, out). Cuts the graph if a DeltaSource adds to it. */
  addToEmbedding(place: LinearPlace, ids: Value, h: Value): Value {
    const group = this.plan.groupAt.get(place);
    const adapted = this.adapted(place, ids, () => h);
    if (group === undefined) return adapted;
    const delta = this.given(`delta.${group}`, "float32", h.dims);
    this.step({ kind: "begin-ids", group });
    this.step({ kind: "wait", group, value: delta.name });
    this.cut();
    return this.node("Add", [adapted, delta], [{ dims: h.dims }])[0];
  }

  /**
   * base() + delta for experts: x (1, rows, in) → (1, routes, out). Cuts the graph if a DeltaSource adds to them.
   *
   * @param rows (routes) int64: the row of x that each route has; undefined: route i has row i
   * @param experts (routes) int64: where it goes
   */
  routed(
    place: LinearPlace,
    x: Value,
    { rows, experts }: { readonly rows: Value | undefined; readonly experts: Value },
    base: () => Value,
  ): Value {
    const group = this.plan.groupAt.get(place);
    if (group === undefined) return base();
    const delta = this.given(`delta.${group}`, "float32", [1, "routes", place.outFeatures[0]]);
    for (const value of [x, experts, ...(rows ? [rows] : [])]) this.expose(value);
    this.step({ kind: "begin-routed", group, value: x.name, rows: rows?.name, experts: experts.name });
    this.cut();
    const y = base();
    this.step({ kind: "wait", group, value: delta.name });
    this.cut();
    return this.node("Add", [y, delta], [{ dims: y.dims }])[0];
  }

  /**
   * What the base makes of x at a place, and what an adapter that is here adds to it. Of an embedding x is the ids.
   *
   * @param base given the name of what comes out, where nothing is added
   */
  adapted(place: LinearPlace, x: Value, base: (name?: string) => Value, name?: string): Value {
    return this.plan.loras.has(place) ? addLora(this, place, x, base(), name) : base(name);
  }

  /** y = [W_1; W_2; …]·x + b. The modules' weights are one matrix, so that one product makes all outputs. */
  placeProduct(place: LinearPlace, x: Value, name?: string): Value {
    this.#toProducts();
    const added = this.#biasOf(place);
    if (added.length === 0) return this.weightsProduct(place, x, name);
    return this.#addAll(this.weightsProduct(place, x), added, name);
  }

  /** y = s ⊙ [W_1; W_2; …]·x, without a bias; s is 1 unless an adapter has changed it. */
  weightsProduct(place: LinearPlace, x: Value, name?: string): Value {
    const { modules, inFeatures, outFeatures, storedInOut = false, isHead = false, exact = false } = place;
    const { changes } = this.plan;
    const tensors = weightsOf(place);
    const matrix: Matrix = { tensors, outFeatures, inFeatures, storedInOut, isHead, exact };
    const replaced = modules.map((module, i) => changes.tensor(`${module}.weight`, storedShape(matrix, i)));
    const rows = isHead ? changes.tokens(modules[0], outFeatures[0], inFeatures) : undefined;
    const scales = changes.scales(modules, outFeatures);
    const steps: ((y: Value | undefined, output: NonNullable<OutputSpec>) => Value)[] = [];
    if (replaced.includes(undefined)) steps.push((_, output) => this.product(matrix, x, output));
    if (replaced.some(Boolean))
      steps.push((y, output) => replaceModules(this, place, x, y, replaced, output));
    if (rows) steps.push((y, output) => replaceRows(this, place, x, y!, rows, output));
    if (scales) steps.push((y, output) => scaleRows(this, y!, scales, output));
    const dims = [...x.dims.slice(0, 2), sum(outFeatures)];
    let y: Value | undefined;
    for (const [i, step] of steps.entries())
      y = step(y, outputOf(dims, i === steps.length - 1 ? name : undefined));
    return y!;
  }

  addBias(place: LinearPlace, y: Value): Value {
    return this.#addAll(y, this.#biasOf(place));
  }

  /** What is added to a place's product: b, and b_added. */
  #biasOf({ modules, outFeatures, bias }: LinearPlace): string[] {
    const own = modules.map((name, i) => bias && this.weight(`${name}.bias`, [outFeatures[i]]));
    const added = this.plan.changes.biases(modules, outFeatures);
    return [
      ...(bias ? [this.#join(own as string[], 0)] : []),
      ...(added ? [this.graph.constant([added.length], added)] : []),
    ];
  }

  #addAll(y: Value, biases: readonly string[], name?: string): Value {
    return biases.reduce(
      (sum, bias, i) =>
        this.node("Add", [sum, bias], [outputOf(y.dims, i === biases.length - 1 ? name : undefined)])[0],
      y,
    );
  }

  /** y = W·x for each row of x (1, rows, in) → (1, rows, out), as W is held. */
  product(matrix: Matrix, x: Value, output: NonNullable<OutputSpec>): Value {
    this.#toProducts();
    const quantized = this.#weights.quantized(matrix);
    if (quantized) return this.#quantizedProduct(matrix, quantized, x, output);
    const weights = matrix.tensors.map((name, i) => {
      const { stored, type } = this.baseWeight(name, storedShape(matrix, i));
      return type === "float32" ? stored : this.graph.cast(stored, "float32");
    });
    // The runtime joins them once, at load.
    const joined = this.#join(weights, matrix.storedInOut ? 1 : 0);
    // As it lies in memory: a turned copy would be one more beside the one that the runtime packs at load.
    if (matrix.storedInOut) return this.node("MatMul", [x, joined], [output])[0];
    return this.timesRows(x, joined, output);
  }

  /** y = x·Wᵀ for W (out, in) */
  timesRows(x: Value, weight: string, output: NonNullable<OutputSpec>): Value {
    if (!this.plan.onDevice) {
      const options = { domain: CONTRIB, attributes: { transB: 1 } };
      return this.node("FusedMatMul", [x, weight], [output], options)[0];
    }
    // Not every device has that operator. Turned once, when it is copied there.
    const turned = this.graph.freshName("turned");
    this.graph.node("Transpose", [weight], [turned], { attributes: { perm: [1, 0] } });
    return this.node("MatMul", [x, turned], [output])[0];
  }

  #quantizedProduct(
    matrix: Matrix,
    { tree, form, codes, scales, zeroPoints }: QuantizedMatrix,
    x: Value,
    output: NonNullable<OutputSpec>,
  ): Value {
    const operands = [this.graph.weight(tree, codes, "uint8"), this.graph.weight(tree, scales, "float32")];
    if (zeroPoints) operands.push(this.graph.weight(tree, zeroPoints, "uint8"));
    return this.node("MatMulNBits", [x, ...operands], [output], {
      domain: CONTRIB,
      attributes: {
        K: matrix.inFeatures,
        N: rowsOf(matrix),
        bits: form.bits,
        block_size: form.block,
        accuracy_level: INT8_ACTIVATIONS,
      },
    })[0];
  }

  #join(parts: readonly string[], axis: number): string {
    if (parts.length === 1) return parts[0];
    const joined = this.graph.freshName("joined");
    this.graph.node("Concat", parts, [joined], { attributes: { axis } });
    return joined;
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

  #toProducts(): void {
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

function outputOf(dims: Dims, name: string | undefined): NonNullable<OutputSpec> {
  return name === undefined ? { dims } : { dims, name };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
