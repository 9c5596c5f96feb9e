/** Whether an adapter is one for this base model, and which of its modules are asked for together. */

import { TacetError } from "../../base/errors.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { LoraAdapter, LoraModule } from "../../weights/lora-adapter.ts";
import { describeDecoder } from "../architectures/registry.ts";
import type { AdaptedGroup } from "../delta-source.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import { linearPlaces } from "../graph/write-decoder.ts";
import { groupAdaptedModules } from "./adapted-groups.ts";

/**
 * The adapter's groups in forward order, once every adapted module is found to have the base model's shape.
 *
 * How the base stores its weights, (out, in) or (in, out), is known from its family; `fan_in_fan_out` is not asked.
 *
 * @throws TacetError bad_adapter for an adapter of another base model, by its modules or its invocation, unsupported_adapter for a module outside the
 *   layers, unsupported_model, bad_checkpoint
 */
export function fitAdapter(adapter: LoraAdapter, checkpoint: Checkpoint): AdaptedGroup[] {
  const decoder = describeDecoder(checkpoint);
  checkInvocation(adapter, decoder.vocabSize);
  const places = linearPlaces(decoder);
  const placeOf = new Map(places.flatMap((place) => place.modules.map((name) => [name, place] as const)));
  for (const module of adapter.modules.values()) {
    if (!checkpoint.has(`${module.name}.weight`)) throw noSuchModule(module.name, checkpoint);
    // A module of the base model that is at no place is refused by its group below.
    const place = placeOf.get(module.name);
    if (place) checkShape(module, place, checkpoint);
  }
  return groupAdaptedModules(
    adapter.modules.values(),
    places.map(({ modules }) => modules),
  );
}

function checkInvocation({ invocationTokens = [] }: LoraAdapter, vocabSize: number): void {
  const strange = invocationTokens.find((id) => id >= vocabSize);
  if (strange === undefined) return;
  throw new TacetError(
    "bad_adapter",
    `the adapter is invoked by the token id ${strange}, outside the base model's vocabulary of ${vocabSize}`,
    { hint: ANOTHER_BASE },
  );
}

const ANOTHER_BASE =
  "the adapter was made for another base model: give the one that its adapter_config.json names (base_model_name_or_path)";

function noSuchModule(name: string, { tree, config }: Checkpoint): TacetError {
  if (/(?:^|\.)lm_head$/.test(name) && config.tie_word_embeddings !== false) {
    return new TacetError(
      "unsupported_adapter",
      `the adapter changes ${quoteName(name)}, which the base model ${tree.label} shares with its embeddings`,
      { hint: "train the adapter without lm_head: only linear modules of the layers are run privately" },
    );
  }
  return new TacetError(
    "bad_adapter",
    `the base model ${tree.label} has no tensor ${quoteName(`${name}.weight`)}, whose module the adapter changes`,
    { hint: ANOTHER_BASE },
  );
}

function checkShape(
  { name, inFeatures, outFeatures, rank }: LoraModule,
  place: LinearPlace,
  checkpoint: Checkpoint,
) {
  const weight = checkpoint.tensor(`${name}.weight`);
  const [rows, columns] = weight.shape;
  const [baseOut, baseIn] = place.storedInOut ? [columns, rows] : [rows, columns];
  if (weight.shape.length === 2 && baseIn === inFeatures && baseOut === outFeatures) return;
  // The side that disagrees; of two, the input's.
  const [side, shape] = baseIn !== inFeatures ? ["A", [rank, inFeatures]] : ["B", [outFeatures, rank]];
  throw new TacetError(
    "bad_adapter",
    `tensor ${quoteName(`base_model.model.${name}.lora_${side}.weight`)} of the adapter is (${shape.join(", ")}), ` +
      `and does not fit ${quoteName(weight.name)} of the base model, (${weight.shape.join(", ")}): ` +
      `a module from ${inFeatures} to ${outFeatures} features for one from ${baseIn} to ${baseOut}`,
    { hint: ANOTHER_BASE },
  );
}
