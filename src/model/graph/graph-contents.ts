/** What a graph holds while it is written, and what is made of it: the whole model, parts, single operators. */

import type onnxProto from "onnx-proto";
import type { FileTree } from "../../base/platform.ts";
import type { TensorInfo } from "../../weights/safetensors.ts";
import type { Dims, ElementType, GraphValue, PartValue } from "./graph-values.ts";

export type GraphNode = onnxProto.onnx.INodeProto;
export type Initializer = onnxProto.onnx.ITensorProto;

/** What is known of a value by its name. */
export interface KnownValue {
  readonly type: ElementType;
  readonly dims: Dims | undefined;
  /** Weights, constants and what is computed of them alone, once, at load. */
  readonly isConstant: boolean;
}

/** A weight whose bytes stay in the checkpoint's file. */
export interface WeightInFile {
  readonly tree: FileTree;
  readonly info: TensorInfo;
}

export interface GraphContents {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  /** By name, as all below. */
  readonly initializers: ReadonlyMap<string, Initializer>;
  /** Of the initializers those in files. */
  readonly inFiles: ReadonlyMap<string, WeightInFile>;
  /** A weight in float32 → the one in a file that it is widened from. */
  readonly widened: ReadonlyMap<string, string>;
  readonly known: ReadonlyMap<string, KnownValue>;
}

export function partValue({ known }: GraphContents, name: string): PartValue {
  const { type, dims } = known.get(name)!;
  return { name, type, dims };
}
