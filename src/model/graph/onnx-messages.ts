/** The protobuf messages that an ONNX model is made of: attributes, values, the model's bytes. */

import onnxProto from "onnx-proto";
import { type Attribute, CONTRIB, ELEMENT_CODE, type PartValue } from "./graph-values.ts";

/** The versions that the operators here are written against. 21 is the last whose files are of IR version 10. */
const IR_VERSION = 10;
const OPSET = 21;
/** Of ONNX Runtime's own operators. */
const CONTRIB_OPSET = 1;

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
