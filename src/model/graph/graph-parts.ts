/**
 * A graph for runtimes that open no files and have no products of rounded weights (a page's): parts of it with the
 * weights that they read, and stages, between which products and look-ups are computed outside.
 */

import { bytesOf } from "../../base/bytes.ts";
import type {
  ModelInParts,
  ModelStage,
  RoundedProduct,
  RoundedWeights,
  TableLookup,
} from "../../base/platform.ts";
import { readTensorBytes, readTensorF32 } from "../../weights/safetensors.ts";
import {
  type GraphContents,
  type GraphNode,
  type Initializer,
  partValue,
  type WeightInFile,
} from "./graph-contents.ts";
import { ELEMENT_CODE, elementTypeOf, type PartValue } from "./graph-values.ts";
import { encodeModel, externalData, valueInfo } from "./onnx-messages.ts";
import { type GraphStage, stagesOf } from "./stages.ts";

/** undefined: nothing of the graph is computed outside. */
export function graphInStages(graph: GraphContents): readonly ModelStage[] | undefined {
  const products = new Map<GraphNode, RoundedProduct>();
  const lookups = new Map<GraphNode, TableLookup>();
  const joined = new Set<GraphNode>();
  for (const node of graph.nodes) {
    const matrix = roundedWeights(graph, node);
    if (matrix) products.set(node, { x: node.input![0], y: node.output![0], matrix });
    const lookup = lookupOf(graph, node);
    if (!lookup) continue;
    lookups.set(node, lookup.lookup);
    if (lookup.widening) joined.add(lookup.widening);
  }
  if (products.size + lookups.size === 0) return undefined;
  const nodes = graph.nodes.filter((node) => !joined.has(node));
  const stages = stagesOf(
    nodes.map((node) => ({
      node,
      inputs: node.input!,
      outputs: [lookups.get(node)?.y ?? node.output!].flat(),
    })),
    {
      isOutside: ({ node }) => products.has(node) || lookups.has(node),
      isConstant: (name) => graph.known.get(name)?.isConstant ?? false,
      results: graph.outputs.map(({ name }) => name),
    },
  );
  return stages.map(({ nodes, inputs, outputs, outside }) => ({
    ...(nodes.length === 0 ? {} : { part: stagePart(graph, { nodes, inputs, outputs }) }),
    products: outside.flatMap(({ node }) => products.get(node) ?? []),
    lookups: outside.flatMap(({ node }) => lookups.get(node) ?? []),
  }));
}

/** Some of a graph's nodes, by default all, with the weights that they read. */
export function graphInParts(
  { name, initializers: all, inFiles, widened: allWidened, ...graph }: GraphContents,
  {
    nodes = graph.nodes,
    inputs = graph.inputs,
    outputs = graph.outputs,
  }: {
    readonly nodes?: readonly GraphNode[];
    readonly inputs?: readonly PartValue[];
    readonly outputs?: readonly PartValue[];
  } = {},
): ModelInParts {
  const node = nodes.filter(({ output }) => !allWidened.has(output![0]));
  const read = new Set(node.flatMap(({ input }) => input!));
  const tensors: ModelInParts["tensors"][number][] = [];
  const external = (weight: Initializer, name: string, length: number, isWidened: boolean) => {
    const { tree, info } = inFiles.get(weight.name!)!;
    const read = async () =>
      isWidened ? bytesOf(await readTensorF32(tree, info)) : await readTensorBytes(tree, info);
    tensors.push({ location: name, length, read });
    const dataType = isWidened ? ELEMENT_CODE.float32 : weight.dataType!;
    return { ...weight, name, dataType, externalData: externalData(name, 0, length) };
  };
  const asStored = [...all]
    .filter(([name]) => read.has(name))
    .map(([name, weight]) => {
      const stored = inFiles.get(name);
      return stored ? external(weight, name, stored.info.bytes, false) : weight;
    });
  const widened = [...allWidened]
    .filter(([name]) => read.has(name))
    .map(([name, from]) => {
      const entries = inFiles.get(from)!.info.shape.reduce((a, b) => a * b, 1);
      return external(all.get(from)!, name, 4 * entries, true);
    });
  const bytes = encodeModel({
    name,
    node,
    initializer: [...asStored, ...widened],
    input: inputs.map(valueInfo),
    output: outputs.map(valueInfo),
  });
  return { bytes, tensors };
}

function stagePart(
  graph: GraphContents,
  { nodes, inputs, outputs }: Omit<GraphStage<{ readonly node: GraphNode }>, "outside">,
) {
  const model = graphInParts(graph, {
    nodes: nodes.map(({ node }) => node),
    inputs: inputs.map((name) => partValue(graph, name)),
    outputs: outputs.map((name) => partValue(graph, name)),
  });
  return { model, inputs, outputs };
}

/** The matrix of a product of rounded weights that lie in files. */
function roundedWeights(
  { inFiles }: GraphContents,
  { opType, input, attribute }: GraphNode,
): RoundedWeights | undefined {
  if (opType !== "MatMulNBits") return undefined;
  const operands = input!.slice(1).map((name) => inFiles.get(name));
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

/** Reads rows of a matrix that lies in a file. */
function rowsReader({ tree, info }: WeightInFile) {
  const rowBytes = info.bytes / info.shape[0];
  return (first: number, count: number): Promise<Uint8Array> =>
    tree.read(info.path, info.offset + first * rowBytes, count * rowBytes);
}

/** The rows of a table in a file, of indices that the graph is given, and the node that widens them. */
function lookupOf(
  { nodes, inputs, inFiles }: GraphContents,
  node: GraphNode,
): { lookup: TableLookup; widening: GraphNode | undefined } | undefined {
  const [table, ids] = node.input!;
  const stored = node.opType === "Gather" ? inFiles.get(table) : undefined;
  if (!stored || node.attribute!.length > 0 || !inputs.some(({ name }) => name === ids)) return undefined;
  const { tree, info } = stored;
  const rows = node.output![0];
  const isWide = elementTypeOf(info) === "float32";
  const readers = nodes.filter(({ input }) => input!.includes(rows));
  if (!isWide && (readers.length !== 1 || !isWidening(readers[0]))) return undefined;
  const [count, width] = info.shape;
  const bytes = info.bytes / count;
  const row = (id: number) =>
    readTensorF32(tree, { ...info, shape: [width], offset: info.offset + id * bytes, bytes });
  const widening = isWide ? undefined : readers[0];
  return { lookup: { ids, y: (widening ?? node).output![0], width, row }, widening };
}

function isWidening({ opType, attribute }: GraphNode): boolean {
  return opType === "Cast" && Number(attribute![0].i) === ELEMENT_CODE.float32;
}
