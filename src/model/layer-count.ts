/** Whether config.json speaks of all the layers that a checkpoint has. */

import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { quoteName } from "../weights/json-file.ts";
import { textModuleName } from "../weights/text-module-name.ts";
import type { LinearPlace } from "./graph/linear-place.ts";

/** "model.layers" and 3 of "model.layers.3.mlp.up_proj"; checkpoints may lack the wrapper's name before it. */
const LAYER = /^(?:(?:transformer|model)\.)?(.*?)\.(\d+)\./;

/** @throws TacetError bad_checkpoint if the checkpoint has tensors of a layer behind the last one */
export function refuseMoreLayers(places: readonly LinearPlace[], checkpoint: Checkpoint): void {
  const layers = new Map<string, number>();
  for (const name of places.flatMap(({ modules }) => modules)) {
    const [, list, number] = LAYER.exec(name) ?? [];
    if (list !== undefined) layers.set(list, Math.max(layers.get(list) ?? 0, Number(number) + 1));
  }
  for (const name of checkpoint.names) {
    const [, list = "", number] = LAYER.exec(textModuleName(name)) ?? [];
    const count = layers.get(list);
    if (count === undefined || Number(number) < count) continue;
    throw new TacetError(
      "bad_checkpoint",
      `${checkpoint.tree.label} has the tensor ${quoteName(name)}, and config.json speaks of ${count} layers only`,
      { hint: "config.json and the weights do not belong together: download both again" },
    );
  }
}
