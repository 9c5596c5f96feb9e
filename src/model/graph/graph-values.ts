/**
 * What a graph's values and attributes are called, without the protobuf messages: declarations that are published lead here,
 * and the messages' own do not compile for everybody.
 */

import type { OnnxModel } from "../../base/platform.ts";
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

/** The domain of ONNX Runtime's own operators. */
export const CONTRIB = "com.microsoft";

const DTYPE_ELEMENT = { F32: "float32", F16: "float16", BF16: "bfloat16" } as const;

/** How a safetensors dtype is called here, undefined for one that no weight may have. */
export function elementTypeOf(tensor: Pick<TensorInfo, "dtype">): ElementType | undefined {
  return DTYPE_ELEMENT[tensor.dtype as keyof typeof DTYPE_ELEMENT];
}

/** A model of one operator of a graph. */
export interface SingleOperator {
  readonly opType: string;
  /** Names of those that are set. */
  readonly attributes: readonly string[];
  /** The same for nodes that a device has both of, or neither. */
  readonly form: string;
  readonly model: OnnxModel;
}
