/** Building ONNX graphs in memory: a thin typed layer over the protobuf messages. */

import onnxProto from "onnx-proto";
import { bytesOf } from "../../base/bytes.ts";
import type { FileTree, OnnxModel } from "../../base/platform.ts";
import type { TensorInfo } from "../../weights/safetensors.ts";
import type { GraphContents, GraphNode, Initializer, KnownValue, WeightInFile } from "./graph-contents.ts";
import { graphInParts, graphInStages } from "./graph-parts.ts";
import {
  type Attribute,
  type Dims,
  ELEMENT_CODE,
  type ElementType,
  type GraphValue,
  type SingleOperator,
} from "./graph-values.ts";
import { attribute, encodeModel, externalData, valueInfo } from "./onnx-messages.ts";
import { singleOperators } from "./single-operators.ts";

export {
  type Attribute,
  CONTRIB,
  type Dims,
  type ElementType,
  elementTypeOf,
  type GraphValue,
} from "./graph-values.ts";

/** A tensor of the forward pass, in whichever graph it is made. */
export interface Value extends GraphValue {
  /** Index of the graph that makes it, -1: given by the caller of each run. */
  readonly segment: number;
}

/** An output of a node; null leaves an optional one out. */
export type OutputSpec = { readonly dims: Dims; readonly type?: ElementType; readonly name?: string } | null;

/** One graph. Values are strings: the names that nodes read and write. */
export class OnnxGraph {
  readonly name: string;
  readonly #nodes: GraphNode[] = [];
  readonly #inputs: GraphValue[] = [];
  readonly #outputs: GraphValue[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #inFiles = new Map<string, WeightInFile>();
  readonly #widened = new Map<string, string>();
  readonly #known = new Map<string, KnownValue>();
  /** By location. */
  readonly #files = new Map<string, OnnxModel["externalFiles"][number]>();
  #names = 0;

  /** @param name starts the names of all values, so that they differ between graphs of different names */
  constructor(name: string) {
    this.name = name;
  }

  /** As it stands when it is asked for. */
  get #contents(): GraphContents {
    return {
      name: this.name,
      nodes: this.#needed,
      inputs: this.#inputs,
      outputs: this.#outputs,
      initializers: this.#initializers,
      inFiles: this.#inFiles,
      widened: this.#widened,
      known: this.#known,
    };
  }

  /** Nodes without those of which nobody reads anything. */
  get #needed(): readonly GraphNode[] {
    const read = new Set(this.#outputs.map(({ name }) => name));
    return this.#nodes
      .toReversed()
      .filter(({ input, output }) => {
        const isNeeded = output!.some((name) => read.has(name));
        if (isNeeded) for (const name of input!) read.add(name);
        return isNeeded;
      })
      .toReversed();
  }

  get inputs(): readonly GraphValue[] {
    return this.#inputs;
  }

  get outputs(): readonly GraphValue[] {
    return this.#outputs;
  }

  get isEmpty(): boolean {
    return this.#nodes.length === 0;
  }

  freshName(hint: string): string {
    return `${this.name}.${hint}.${this.#names++}`;
  }

  input(value: GraphValue): void {
    if (this.#inputs.some(({ name }) => name === value.name)) return;
    this.#inputs.push(value);
    this.#known.set(value.name, { type: value.type, dims: value.dims, isConstant: false });
  }

  output(value: GraphValue): void {
    if (!this.#outputs.some(({ name }) => name === value.name)) this.#outputs.push(value);
  }

  /**
   * Adds a node. An empty name among the inputs or outputs leaves an optional one out. What is not said of an output
   * is as of the first input.
   */
  node(
    opType: string,
    input: readonly string[],
    output: readonly string[],
    options: {
      readonly attributes?: Readonly<Record<string, Attribute>>;
      readonly domain?: string;
      readonly outputs?: readonly OutputSpec[];
    } = {},
  ): void {
    const isConstant = input.every((name) => name === "" || this.#known.get(name)?.isConstant);
    for (const [i, name] of output.entries()) {
      const { type, dims } = options.outputs?.[i] ?? {};
      const first = this.#known.get(input[0]);
      this.#known.set(name, {
        type: type ?? (options.outputs ? "float32" : (first?.type ?? "float32")),
        dims,
        isConstant,
      });
    }
    this.#nodes.push({
      opType,
      name: this.freshName(opType),
      domain: options.domain ?? "",
      input: [...input],
      output: [...output],
      attribute: Object.entries(options.attributes ?? {}).map(([name, value]) => attribute(name, value)),
    });
  }

  /** A weight whose bytes stay in the checkpoint's file. */
  weight(tree: FileTree, tensor: TensorInfo, type: ElementType): string {
    const name = this.freshName(tensor.name);
    // The native name: a link's target is called otherwise than the path in the tree.
    const location = tree.nativePath(tensor.path)?.split(/[/\\]/).at(-1) ?? tensor.path;
    this.#files.set(location, { location, tree, path: tensor.path });
    this.#inFiles.set(name, { tree, info: tensor });
    return this.#initializer(name, tensor.shape, type, {
      dataLocation: onnxProto.onnx.TensorProto.DataLocation.EXTERNAL,
      externalData: externalData(location, tensor.offset, tensor.bytes),
    });
  }

  /** A weight inside the model's bytes. @param bytes little-endian */
  inlineWeight(dims: readonly number[], type: ElementType, bytes: Uint8Array): string {
    return this.#initializer(this.freshName("weight"), dims, type, { rawData: bytes });
  }

  /** A constant inside the model's bytes. */
  constant(dims: readonly number[], data: Float32Array | Int32Array | BigInt64Array): string {
    const type = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "int64";
    return this.#initializer(this.freshName("constant"), dims, type, { rawData: bytesOf(data) });
  }

  #initializer(name: string, dims: readonly number[], type: ElementType, data: Initializer): string {
    this.#known.set(name, { type, dims, isConstant: true });
    this.#initializers.set(name, { name, dataType: ELEMENT_CODE[type], dims: [...dims], ...data });
    return name;
  }

  cast(value: string, to: ElementType): string {
    const out = this.freshName("cast");
    const dims = this.#known.get(value)?.dims ?? [];
    const attributes = { to: ELEMENT_CODE[to] };
    if (to === "float32" && this.#inFiles.has(value)) this.#widened.set(out, value);
    this.node("Cast", [value], [out], { attributes, outputs: [{ dims, type: to }] });
    return out;
  }

  operators(): Iterable<SingleOperator> {
    return singleOperators(this.#contents);
  }

  encode(): OnnxModel {
    const bytes = encodeModel({
      name: this.name,
      node: [...this.#needed],
      initializer: [...this.#initializers.values()],
      input: this.#inputs.map(valueInfo),
      output: this.#outputs.map(valueInfo),
    });
    return {
      bytes,
      externalFiles: [...this.#files.values()],
      weightBytes: [...this.#inFiles.values()].reduce((sum, { info }) => sum + info.bytes, 0),
      inParts: () => graphInParts(this.#contents),
      inStages: () => graphInStages(this.#contents),
    };
  }
}
