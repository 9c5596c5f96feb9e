/** Building ONNX graphs in memory: a thin typed layer over the protobuf messages. */

import onnxProto from "onnx-proto";
import { bytesOf } from "../../base/bytes.ts";
import type { FileTree, OnnxModel } from "../../base/platform.ts";
import type { TensorInfo } from "../../weights/safetensors.ts";

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

/** One graph. Values are strings: the names that nodes read and write. */
export class OnnxGraph {
  readonly name: string;
  readonly #nodes: onnxProto.onnx.INodeProto[] = [];
  readonly #initializers: onnxProto.onnx.ITensorProto[] = [];
  readonly #inputs: GraphValue[] = [];
  readonly #outputs: GraphValue[] = [];
  readonly #files = new Map<string, OnnxModel["externalFiles"][number]>();
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

  freshName(hint: string): string {
    return `${this.name}.${hint}.${this.#names++}`;
  }

  input(value: GraphValue): void {
    if (!this.#inputs.some(({ name }) => name === value.name)) this.#inputs.push(value);
  }

  output(value: GraphValue): void {
    if (!this.#outputs.some(({ name }) => name === value.name)) this.#outputs.push(value);
  }

  /** Adds a node. An empty name among the inputs or outputs leaves an optional one out. */
  node(
    opType: string,
    input: readonly string[],
    output: readonly string[],
    options: { readonly attributes?: Readonly<Record<string, Attribute>>; readonly domain?: string } = {},
  ): void {
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
    this.#initializers.push({
      name,
      dataType: ELEMENT_CODE[type],
      dims: [...tensor.shape],
      dataLocation: onnxProto.onnx.TensorProto.DataLocation.EXTERNAL,
      externalData: [
        { key: "location", value: location },
        { key: "offset", value: String(tensor.offset) },
        { key: "length", value: String(tensor.bytes) },
      ],
    });
    return name;
  }

  /** A weight inside the model's bytes. @param bytes little-endian */
  inlineWeight(dims: readonly number[], type: ElementType, bytes: Uint8Array): string {
    const name = this.freshName("weight");
    this.#initializers.push({ name, dataType: ELEMENT_CODE[type], dims: [...dims], rawData: bytes });
    return name;
  }

  /** A constant inside the model's bytes. */
  constant(dims: readonly number[], data: Float32Array | Int32Array | BigInt64Array): string {
    const name = this.freshName("constant");
    const type = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "int64";
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
    this.node("Cast", [value], [out], { attributes: { to: ELEMENT_CODE[to] } });
    return out;
  }

  encode(): OnnxModel {
    return { bytes: this.#encodeBytes(), externalFiles: [...this.#files.values()] };
  }

  #encodeBytes(): Uint8Array {
    return onnxProto.onnx.ModelProto.encode({
      irVersion: IR_VERSION,
      producerName: "tacet",
      opsetImport: [
        { domain: "", version: OPSET },
        { domain: CONTRIB, version: CONTRIB_OPSET },
      ],
      graph: {
        name: this.name,
        node: this.#nodes,
        initializer: this.#initializers,
        input: this.#inputs.map(valueInfo),
        output: this.#outputs.map(valueInfo),
      },
    }).finish();
  }
}

function valueInfo({ name, type, dims }: GraphValue): onnxProto.onnx.IValueInfoProto {
  const dim = dims.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: ELEMENT_CODE[type], shape: { dim } } } };
}

/** A number is an integer attribute; a fraction is written { float }, a name { text }. */
function attribute(name: string, value: Attribute): onnxProto.onnx.IAttributeProto {
  const { AttributeType } = onnxProto.onnx.AttributeProto;
  if (typeof value === "number") return { name, type: AttributeType.INT, i: value };
  if ("float" in value) return { name, type: AttributeType.FLOAT, f: value.float };
  if ("text" in value) return { name, type: AttributeType.STRING, s: new TextEncoder().encode(value.text) };
  return { name, type: AttributeType.INTS, ints: [...value] };
}
