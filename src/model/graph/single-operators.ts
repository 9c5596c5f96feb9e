/** Models of one operator each, to ask a device whether it has it. */

import { type GraphContents, partValue } from "./graph-contents.ts";
import type { SingleOperator } from "./graph-values.ts";
import { encodeModel, valueInfo } from "./onnx-messages.ts";

/** Constants up to this size are kept in such a model: shapes and axes, which decide who can run it. */
const SMALL_BYTES = 256;

/**
 * The operators that compute with float32 activations, each in every form that it is used in. What works with ids and
 * indices is not among them, nor what is computed at load.
 */
export function* singleOperators(graph: GraphContents): Iterable<SingleOperator> {
  const { nodes, initializers, known } = graph;
  const computes = (name: string) => known.get(name)?.type === "float32" && !known.get(name)!.isConstant;
  const isSmall = (name: string) => (initializers.get(name)?.rawData?.length ?? Infinity) <= SMALL_BYTES;
  for (const node of nodes) {
    const inputs = [...new Set(node.input!)].filter((name) => name !== "");
    if (!inputs.some(computes)) continue;
    const given = inputs.filter((name) => !isSmall(name)).map((name) => partValue(graph, name));
    const form = [node.opType, node.attribute, given.map(({ type }) => type), node.input!.map(Boolean)];
    yield {
      opType: node.opType!,
      attributes: node.attribute!.map(({ name }) => name!),
      form: JSON.stringify(form),
      model: {
        bytes: encodeModel({
          name: node.opType!,
          node: [node],
          initializer: inputs.filter(isSmall).map((name) => initializers.get(name)!),
          input: given.map(valueInfo),
          output: node.output!.filter(Boolean).map((name) => valueInfo(partValue(graph, name))),
        }),
        externalFiles: [],
      },
    };
  }
}
