/** The protobuf messages that an ONNX model is made of: element types, attributes, values, the model's bytes. */

import onnxProto from "onnx-proto";
import type { TensorInfo } from "../../weights/safetensors.ts";

/** ONNX TensorProto.DataType. */
export const ELEMENT_CODE = {
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

/** An input or output of a part of a graph, of whose shape nothing may be known. */
export interface PartValue {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: Dims | undefined;
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

/** Where a tensor's bytes are, in a file beside the model. */
export function externalData(location: string, offset: number, length: number) {
  return Object.entries({ location, offset, length }).map(([key, value]) => ({ key, value: String(value) }));
}

export function encodeModel(graph: onnxProto.onnx.IGraphProto): Uint8Array {
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

/** An input or output; `dims` undefined: of any shape. */
export function valueInfo({ name, type, dims }: PartValue): onnxProto.onnx.IValueInfoProto {
  const dim = dims?.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: ELEMENT_CODE[type], ...(dim && { shape: { dim } }) } } };
}

/** A number is an integer attribute; a fraction is written { float }, a name { text }. */
export function attribute(name: string, value: Attribute): onnxProto.onnx.IAttributeProto {
  const { AttributeType } = onnxProto.onnx.AttributeProto;
  if (typeof value === "number") return { name, type: AttributeType.INT, i: value };
  if ("float" in value) return { name, type: AttributeType.FLOAT, f: value.float };
  if ("text" in value) return { name, type: AttributeType.STRING, s: new TextEncoder().encode(value.text) };
  return { name, type: AttributeType.INTS, ints: [...value] };
}
