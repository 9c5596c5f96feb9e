/** down·act(up·x), or with a gate down·(act(gate·x)·up·x). */

import { type Activation, activate } from "../blocks/activation.ts";
import { splitColumns } from "../blocks/columns.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { ModuleWriter } from "./module-writer.ts";

export interface Mlp {
  readonly kind: "mlp";
  /** gate and up beside each other, in one module or two; or up alone. */
  readonly in: LinearPlace;
  readonly gated: boolean;
  readonly activation: Activation;
  readonly out: LinearPlace;
}

export const mlpWriter: ModuleWriter<Mlp> = {
  places: ({ in: first, out }) => [first, out],
  entry: ({ in: first }) => first,
  write({ builder }, { gated, activation, out }, entered) {
    if (!gated) return { place: out, x: activate(builder, entered, activation) };
    const width = out.inFeatures;
    const [gate, up] = splitColumns(builder, entered, [width, width]);
    const activated = activate(builder, gate, activation);
    return { place: out, x: builder.node("Mul", [activated, up], [{ dims: up.dims }])[0] };
  },
};
