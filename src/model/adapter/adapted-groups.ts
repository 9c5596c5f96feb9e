/** Which of a model's adapted modules are asked for together: those that share an input. */

import { TacetError } from "../../base/errors.ts";
import type { AdaptedGroup } from "../delta-source.ts";

export interface AdaptedModule {
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly isEmbedding?: boolean;
  /** It is one of the experts that share a router, asked in so many rows for each token. */
  readonly routed?: { readonly rowsPerToken: number };
}

/**
 * The groups in forward order, with the adapted modules only; places without any are left out.
 *
 * @param inputGroups from the architecture, for each place in forward order: the full names of the modules that
 *   read one input, in the order in which deltas are given
 * @throws TacetError unsupported_adapter for an adapted module at no such place, bad_adapter for modules that
 *   share an input and disagree on its length
 */
export function groupAdaptedModules(
  modules: Iterable<AdaptedModule>,
  inputGroups: readonly (readonly string[])[],
): AdaptedGroup[] {
  const left = new Map<string, AdaptedModule>();
  for (const module of modules) {
    if (left.has(module.name)) throw new RangeError(`module ${module.name} is given twice`);
    left.set(module.name, module);
  }
  const groups: AdaptedGroup[] = [];
  const lastLayer = Math.max(0, ...inputGroups.flat().map((name) => layerOf(name) ?? 0));
  for (const names of inputGroups) {
    const members = names.flatMap((name) => left.get(name) ?? []);
    if (members.length === 0) continue;
    for (const { name } of members) left.delete(name);
    const { name: first, inFeatures, isEmbedding = false, routed } = members[0];
    const stray = members.find((member) => member.inFeatures !== inFeatures);
    if (stray) {
      throw new TacetError(
        "bad_adapter",
        `modules ${first} and ${stray.name} share an input and are adapted for ${inFeatures} and ${stray.inFeatures} features`,
        { hint: "the adapter was made for another base model?" },
      );
    }
    groups.push({
      layer: layerOf(first) ?? (isEmbedding ? 0 : lastLayer),
      modules: members.map(({ name }) => name),
      inFeatures,
      ...(isEmbedding ? { input: "ids" as const } : {}),
      ...(routed ? { input: "routed" as const, ...routed } : {}),
      outFeatures: members.map(({ outFeatures }) => outFeatures),
    });
  }
  for (const name of left.keys()) throw noPlace(name);
  return groups;
}

/** "model.layers.3.mlp.up_proj" → 3: the first part of the path that is a number; undefined outside the layers. */
function layerOf(name: string): number | undefined {
  const part = name.split(".").find((text) => /^\d+$/.test(text));
  return part === undefined ? undefined : Number(part);
}

function noPlace(name: string): TacetError {
  return new TacetError(
    "unsupported_adapter",
    `the adapter changes ${JSON.stringify(name.slice(0, 120))}, which is no linear module of the model, nor its embedding`,
    {
      hint: "adapt linear modules of the layers, the embedding and the head only, in a model with its language model head",
    },
  );
}
