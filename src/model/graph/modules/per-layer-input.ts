/** projection·(act(gate·h)·p_l), p_l the layer's part of the second embedding (Gemma 4). */

import { type Activation, activate } from "../blocks/activation.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { ModuleWriter } from "./module-writer.ts";

export interface PerLayerInput {
  readonly kind: "per-layer-input";
  readonly layer: number;
  readonly in: LinearPlace;
  readonly activation: Activation;
  readonly out: LinearPlace;
}

export const perLayerInputWriter: ModuleWriter<PerLayerInput> = {
  places: ({ in: first, out }) => [first, out],
  entry: ({ in: first }) => first,
  write({ builder, perLayer }, { layer, activation, out }, entered) {
    const gate = activate(builder, entered, activation);
    return { place: out, x: builder.node("Mul", [gate, perLayer[layer]], [{ dims: gate.dims }])[0] };
  },
};
