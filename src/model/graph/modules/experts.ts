/** A mixture of experts between norms: the router, the experts it chooses, and an expert that all tokens go through. */

import { activate } from "../blocks/activation.ts";
import { splitColumns } from "../blocks/columns.ts";
import { type ExpertLayer, mixExperts } from "../blocks/experts.ts";
import { linear } from "../linear-layer.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { Value } from "../onnx-graph.ts";
import type { Mlp } from "./mlp.ts";
import type { ModuleWriter } from "./module-writer.ts";
import type { PassWriter } from "./pass-writer.ts";

export interface Experts extends ExpertLayer {
  readonly kind: "experts";
  /** One module, an output for each expert. */
  readonly router: LinearPlace;
  readonly shared?: {
    readonly mlp: Mlp;
    /** One module with one output g: what the MLP gives is multiplied by sigmoid(g). */
    readonly gate: LinearPlace;
  };
}

export const expertsWriter: ModuleWriter<Experts> = {
  places: ({ router, shared, first, second }) => [
    router,
    ...(shared ? [shared.gate, shared.mlp.in, shared.mlp.out] : []),
    ...[first, second].flatMap(({ place }) => place ?? []),
  ],
  entry: () => undefined,
  write(pass, module, x) {
    const { builder } = pass;
    const scores = linear(builder, module.router, x);
    const { shared } = module;
    // Places are asked for in this order, and what follows a cut needs less carried over it.
    const always = shared && sharedExpert(pass, shared, x);
    const mixed = mixExperts(builder, module, x, scores);
    return always ? builder.node("Add", [mixed, always], [{ dims: mixed.dims }])[0] : mixed;
  },
};

/** sigmoid(g·x)·mlp(x) */
function sharedExpert(
  { builder }: PassWriter,
  { mlp, gate }: NonNullable<Experts["shared"]>,
  x: Value,
): Value {
  const width = mlp.out.inFeatures;
  const [open] = builder.node("Sigmoid", [linear(builder, gate, x)], [{ dims: [1, "tokens", 1] }]);
  const [one, two] = splitColumns(builder, linear(builder, mlp.in, x), [width, width]);
  const [inner] = builder.node("Mul", [activate(builder, one, mlp.activation), two], [{ dims: two.dims }]);
  const y = linear(builder, mlp.out, inner);
  return builder.node("Mul", [y, open], [{ dims: y.dims }])[0];
}
