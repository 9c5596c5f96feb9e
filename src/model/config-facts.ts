/** What config.json alone says of a base model, for those who do not load it. */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { linearPlaces } from "./graph/write-decoder.ts";

/**
 * For each place in forward order: the full names of the linear modules that share an input.
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function inputGroupsOf(checkpoint: Checkpoint): readonly (readonly string[])[] {
  return linearPlaces(describeDecoder(checkpoint)).map(({ modules }) => modules);
}

/**
 * Whether a module's weight is stored (in, out) instead of (out, in), by its full name.
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function storedInOut(checkpoint: Checkpoint): (module: string) => boolean {
  const places = linearPlaces(describeDecoder(checkpoint));
  const modules = new Set(places.filter((place) => place.storedInOut).flatMap((place) => place.modules));
  return (module) => modules.has(module);
}

/**
 * Rows of the base model's embeddings: every id is below it.
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function vocabSizeOf(checkpoint: Checkpoint): number {
  return describeDecoder(checkpoint).vocabSize;
}
