/** Building ONNX graphs in memory: a thin typed layer over the protobuf messages. */

import onnxProto from "onnx-proto";
import { bytesOf } from "../../base/bytes.ts";
import type {
  FileTree,
  ModelInParts,
  ModelStage,
  OnnxModel,
  RoundedProduct,
  RoundedWeights,
  TableLookup,
} from "../../base/platform.ts";
import { readTensorBytes, readTensorF32, type TensorInfo } from "../../weights/safetensors.ts";
import { type GraphStage, stagesOf } from "./stages.ts";

/** ONNX TensorProto.DataType. */
const ELEMENT_CODE = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  bfloat16: 16,
} as const;

export type ElementType = keyof typeof ELEMENT_CODE;

/** Sizes of a tensor; a name stands for a size that is known only when the graph runs. */
export type Dims = readonly (number | string)[];

/** An input or output of a graph. */
export interface GraphValue {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: Dims;
}

export type Attribute = number | { readonly float: number } | { readonly text: string } | readonly number[];

/** The versions that the operators here are written against. 21 is the last whose files are of IR version 10. */
const IR_VERSION = 10;
const OPSET = 21;
/** The domain of ONNX Runtime's own operators, and its version. */
export const CONTRIB = "com.microsoft";
const CONTRIB_OPSET = 1;

const DTYPE_ELEMENT = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** How a safetensors dtype is called here, undefined for one that no weight may have. */
export function elementTypeOf(tensor: Pick<TensorInfo, "dtype">): ElementType | undefined {
  return DTYPE_ELEMENT[tensor.dtype as keyof typeof DTYPE_ELEMENT];
}

/** A tensor of the forward pass, in whichever graph it is made. */
export interface Value extends GraphValue {
  /** Index of the graph that makes it, -1: given by the caller of each run. */
  readonly segment: number;
}

/** An output of a node; null leaves an optional one out. */
export type OutputSpec = { readonly dims: Dims; readonly type?: ElementType; readonly name?: string } | null;

/** What is known of a value by its name. */
interface Known {
  readonly type: ElementType;
  readonly dims: Dims | undefined;
  /** Weights, constants and what is computed of them alone, once, at load. */
  readonly isConstant: boolean;
}

type ProbedValue = Pick<Known, "type" | "dims"> & { readonly name: string };

/** A model of one operator of a graph. */
export interface SingleOperator {
  readonly opType: string;
  /** Names of those that are set. */
  readonly attributes: readonly string[];
  /** The same for nodes that a device has both of, or neither. */
  readonly form: string;
  readonly model: OnnxModel;
}

/** Constants up to this size are kept in such a model: shapes and axes, which decide who can run it. */
const SMALL_BYTES = 256;

/** One graph. Values are strings: the names that nodes read and write. */
export class OnnxGraph {
  readonly name: string;
  readonly #nodes: onnxProto.onnx.INodeProto[] = [];
  readonly #initializers: onnxProto.onnx.ITensorProto[] = [];
  readonly #inputs: GraphValue[] = [];
  readonly #outputs: GraphValue[] = [];
  readonly #files = new Map<string, OnnxModel["externalFiles"][number]>();
  readonly #external = new Map<onnxProto.onnx.ITensorProto, { tree: FileTree; info: TensorInfo }>();
  /** Weights by the name that they have in float32. */
  readonly #widened = new Map<string, onnxProto.onnx.ITensorProto>();
  readonly #known = new Map<string, Known>();
  #names = 0;

  /** @param name starts the names of all values, so that they differ between graphs of different names */
  constructor(name: string) {
    this.name = name;
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
    this.#known.set(name, { type, dims: tensor.shape, isConstant: true });
    const initializer = {
      name,
      dataType: ELEMENT_CODE[type],
      dims: [...tensor.shape],
      dataLocation: onnxProto.onnx.TensorProto.DataLocation.EXTERNAL,
      externalData: externalData(location, tensor.offset, tensor.bytes),
    };
    this.#initializers.push(initializer);
    this.#external.set(initializer, { tree, info: tensor });
    return name;
  }

  /** A weight inside the model's bytes. @param bytes little-endian */
  inlineWeight(dims: readonly number[], type: ElementType, bytes: Uint8Array): string {
    const name = this.freshName("weight");
    this.#known.set(name, { type, dims, isConstant: true });
    this.#initializers.push({ name, dataType: ELEMENT_CODE[type], dims: [...dims], rawData: bytes });
    return name;
  }

  /** A constant inside the model's bytes. */
  constant(dims: readonly number[], data: Float32Array | Int32Array | BigInt64Array): string {
    const name = this.freshName("constant");
    const type = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "int64";
    this.#known.set(name, { type, dims, isConstant: true });
    this.#initializers.push({
      name,
      dataType: ELEMENT_CODE[type],
      dims: [...dims],
      rawData: bytesOf(data),
    });
    return name;
  }

  cast(value: string, to: ElementType): string {
    const out = this.freshName("cast");
    const dims = this.#known.get(value)?.dims ?? [];
    const attributes = { to: ELEMENT_CODE[to] };
    const weight = this.#initializers.find(({ name }) => name === value);
    if (to === "float32" && weight && this.#external.has(weight)) this.#widened.set(out, weight);
    this.node("Cast", [value], [out], { attributes, outputs: [{ dims, type: to }] });
    return out;
  }

  /** Nodes without those of which nobody reads anything. */
  get #needed(): onnxProto.onnx.INodeProto[] {
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

  /**
   * The operators that compute with float32 activations, each in every form that it is used in: a model of it alone, to
   * ask a device whether it has it. What works with ids and indices is not among them, nor what is computed at load.
   */
  *operators(): Iterable<SingleOperator> {
    const constants = new Map(this.#initializers.map((each) => [each.name!, each]));
    for (const node of this.#needed) {
      const inputs = [...new Set(node.input!)].filter((name) => name !== "");
      const computes = (name: string): boolean => {
        const known = this.#known.get(name);
        return known?.type === "float32" && !known.isConstant;
      };
      if (!inputs.some(computes)) continue;
      const isSmall = (name: string) => (constants.get(name)?.rawData?.length ?? Infinity) <= SMALL_BYTES;
      const initializer = inputs.filter(isSmall).map((name) => constants.get(name)!);
      const given = inputs.filter((name) => !isSmall(name)).map((name) => this.#valueOf(name));
      const form = [node.opType, node.attribute, given.map(({ type }) => type), node.input!.map(Boolean)];
      yield {
        opType: node.opType!,
        attributes: node.attribute!.map(({ name }) => name!),
        form: JSON.stringify(form),
        model: {
          bytes: encodeModel({
            name: node.opType!,
            node: [node],
            initializer,
            input: given.map(valueInfo),
            output: node.output!.filter(Boolean).map((name) => valueInfo(this.#valueOf(name))),
          }),
          externalFiles: [],
        },
      };
    }
  }

  #valueOf(name: string): ProbedValue {
    return { name, ...this.#known.get(name)! };
  }

  encode(): OnnxModel {
    return {
      bytes: this.#encode(this.#needed, this.#initializers),
      externalFiles: [...this.#files.values()],
      inParts: () => this.#inParts(this.#needed, this.#inputs, this.#outputs),
      inStages: () => this.#inStages(),
    };
  }

  #inStages(): readonly ModelStage[] | undefined {
    const products = new Map<onnxProto.onnx.INodeProto, RoundedProduct>();
    const lookups = new Map<onnxProto.onnx.INodeProto, TableLookup>();
    const joined = new Set<onnxProto.onnx.INodeProto>();
    const needed = this.#needed;
    for (const node of needed) {
      const matrix = this.#roundedWeights(node);
      if (matrix) products.set(node, { x: node.input![0], y: node.output![0], matrix });
      const lookup = this.#lookupOf(node);
      if (!lookup) continue;
      lookups.set(node, lookup.lookup);
      if (lookup.widening) joined.add(lookup.widening);
    }
    if (products.size + lookups.size === 0) return undefined;
    const nodes = needed.filter((node) => !joined.has(node));
    const stages = stagesOf(
      nodes.map((node) => ({
        node,
        inputs: node.input!,
        outputs: [lookups.get(node)?.y ?? node.output!].flat(),
      })),
      {
        isOutside: ({ node }) => products.has(node) || lookups.has(node),
        isConstant: (name) => this.#known.get(name)?.isConstant ?? false,
        results: this.#outputs.map(({ name }) => name),
      },
    );
    return stages.map(({ nodes, inputs, outputs, outside }) => ({
      ...(nodes.length === 0 ? {} : { part: this.#part({ nodes, inputs, outputs }) }),
      products: outside.flatMap(({ node }) => products.get(node) ?? []),
      lookups: outside.flatMap(({ node }) => lookups.get(node) ?? []),
    }));
  }

  /** The rows of a table in a file, of indices that the graph is given, and the node that widens them. */
  #lookupOf(
    node: onnxProto.onnx.INodeProto,
  ): { lookup: TableLookup; widening: onnxProto.onnx.INodeProto | undefined } | undefined {
    const [table, ids] = node.input!;
    const stored = node.opType === "Gather" ? this.#externalOf(table) : undefined;
    if (!stored || node.attribute!.length > 0 || !this.#inputs.some(({ name }) => name === ids))
      return undefined;
    const { tree, info } = stored;
    const rows = node.output![0];
    const isWide = elementTypeOf(info) === "float32";
    const readers = this.#nodes.filter(({ input }) => input!.includes(rows));
    if (!isWide && (readers.length !== 1 || !this.#isWidening(readers[0]))) return undefined;
    const [count, width] = info.shape;
    const bytes = info.bytes / count;
    const row = (id: number) =>
      readTensorF32(tree, { ...info, shape: [width], offset: info.offset + id * bytes, bytes });
    const widening = isWide ? undefined : readers[0];
    return { lookup: { ids, y: (widening ?? node).output![0], width, row }, widening };
  }

  #isWidening({ opType, attribute }: onnxProto.onnx.INodeProto): boolean {
    return opType === "Cast" && Number(attribute![0].i) === ELEMENT_CODE.float32;
  }

  #part({
    nodes,
    inputs,
    outputs,
  }: Pick<GraphStage<{ readonly node: onnxProto.onnx.INodeProto }>, "nodes" | "inputs" | "outputs">) {
    return {
      model: this.#inParts(
        nodes.map(({ node }) => node),
        inputs.map((name) => this.#valueOf(name)),
        outputs.map((name) => this.#valueOf(name)),
      ),
      inputs,
      outputs,
    };
  }

  /** The matrix of a product of rounded weights that lie in files. */
  #roundedWeights({ opType, input, attribute }: onnxProto.onnx.INodeProto): RoundedWeights | undefined {
    if (opType !== "MatMulNBits") return undefined;
    const operands = input!.slice(1).map((name) => this.#externalOf(name));
    if (operands.includes(undefined)) return undefined;
    const [codes, scales, zeroPoints] = operands.map((operand) => rowsReader(operand!));
    const integer = (wanted: string) => Number(attribute!.find(({ name }) => name === wanted)!.i);
    return {
      rows: integer("N"),
      columns: integer("K"),
      bits: integer("bits") as 4 | 8,
      block: integer("block_size"),
      codes,
      scales,
      ...(operands.length > 2 ? { zeroPoints } : {}),
    };
  }

  #externalOf(name: string): { tree: FileTree; info: TensorInfo } | undefined {
    const initializer = this.#initializers.find((each) => each.name === name);
    return initializer && this.#external.get(initializer);
  }

  /** Some of the nodes, with the weights that they read. */
  #inParts(
    all: readonly onnxProto.onnx.INodeProto[],
    inputs: readonly ProbedValue[],
    outputs: readonly ProbedValue[],
  ): ModelInParts {
    const nodes = all.filter(({ output }) => !this.#widened.has(output![0]));
    const read = new Set(nodes.flatMap(({ input }) => input!));
    const widened = [...this.#widened].filter(([name]) => read.has(name));
    const tensors: ModelInParts["tensors"][number][] = [];
    const external = (
      weight: onnxProto.onnx.ITensorProto,
      name: string,
      length: number,
      isWidened: boolean,
    ) => {
      const { tree, info } = this.#external.get(weight)!;
      const read = async () =>
        isWidened ? bytesOf(await readTensorF32(tree, info)) : await readTensorBytes(tree, info);
      tensors.push({ location: name, length, read });
      const dataType = isWidened ? ELEMENT_CODE.float32 : weight.dataType!;
      return { ...weight, name, dataType, externalData: externalData(name, 0, length) };
    };
    const initializers = [
      ...this.#initializers
        .filter(({ name }) => read.has(name!))
        .map((weight) => {
          const part = this.#external.get(weight);
          return part ? external(weight, weight.name!, part.info.bytes, false) : weight;
        }),
      ...widened.map(([name, weight]) =>
        external(weight, name, 4 * this.#external.get(weight)!.info.shape.reduce((a, b) => a * b, 1), true),
      ),
    ];
    return { bytes: this.#encode(nodes, initializers, inputs, outputs), tensors };
  }

  #encode(
    node: onnxProto.onnx.INodeProto[],
    initializer: onnxProto.onnx.ITensorProto[],
    inputs: readonly ProbedValue[] = this.#inputs,
    outputs: readonly ProbedValue[] = this.#outputs,
  ): Uint8Array {
    return encodeModel({
      name: this.name,
      node,
      initializer,
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
    });
  }
}

/** Reads rows of a matrix that lies in a file. */
function rowsReader({ tree, info }: { tree: FileTree; info: TensorInfo }) {
  const rowBytes = info.bytes / info.shape[0];
  return (first: number, count: number): Promise<Uint8Array> =>
    tree.read(info.path, info.offset + first * rowBytes, count * rowBytes);
}

function externalData(location: string, offset: number, length: number) {
  return Object.entries({ location, offset, length }).map(([key, value]) => ({ key, value: String(value) }));
}

function encodeModel(graph: onnxProto.onnx.IGraphProto): Uint8Array {
  return onnxProto.onnx.ModelProto.encode({
    irVersion: IR_VERSION,
    producerName: "tacet",
    opsetImport: [
      { domain: "", version: OPSET },
      { domain: CONTRIB, version: CONTRIB_OPSET },
    ],
    graph,
  }).finish();
}

function valueInfo({ name, type, dims }: ProbedValue): onnxProto.onnx.IValueInfoProto {
  const dim = dims?.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: ELEMENT_CODE[type], ...(dim && { shape: { dim } }) } } };
}

/** A number is an integer attribute; a fraction is written { float }, a name { text }. */
function attribute(name: string, value: Attribute): onnxProto.onnx.IAttributeProto {
  const { AttributeType } = onnxProto.onnx.AttributeProto;
  if (typeof value === "number") return { name, type: AttributeType.INT, i: value };
  if ("float" in value) return { name, type: AttributeType.FLOAT, f: value.float };
  if ("text" in value) return { name, type: AttributeType.STRING, s: new TextEncoder().encode(value.text) };
  return { name, type: AttributeType.INTS, ints: [...value] };
}
