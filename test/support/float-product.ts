/** Products of float32 matrices in ONNX Runtime: for what tests compute thousands of times. */
import type { TensorSession } from "../../src/base/platform.ts";
import { OnnxGraph } from "../../src/model/graph/onnx-graph.ts";
import { nodePlatform } from "../../src/platform/node.ts";

let product: Promise<TensorSession> | undefined;

/** a·b: a (rows, inner), b (inner, columns), all row-major. */
export async function floatProduct(
  a: Float32Array,
  b: Float32Array,
  { rows, inner, columns }: { readonly rows: number; readonly inner: number; readonly columns: number },
): Promise<Float32Array> {
  product ??= openProduct();
  const { out } = await (await product).run({
    a: { type: "float32", dims: [rows, inner], data: a },
    b: { type: "float32", dims: [inner, columns], data: b },
  });
  return out.data as Float32Array;
}

function openProduct(): Promise<TensorSession> {
  const graph = new OnnxGraph("product");
  graph.input({ name: "a", type: "float32", dims: ["rows", "inner"] });
  graph.input({ name: "b", type: "float32", dims: ["inner", "columns"] });
  graph.node("MatMul", ["a", "b"], ["out"]);
  graph.output({ name: "out", type: "float32", dims: ["rows", "columns"] });
  return nodePlatform().tensors.createSession(graph.encode());
}
