/** Whether a bundle's groups are groups of this base model: nothing of a bundle is taken on trust. */
import { toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { BundleManifest } from "../bundle/manifest.ts";
import type { BaseIdentity } from "../model/base-identity.ts";

/**
 * @param inputGroups for each place in forward order the modules that share an input
 * @throws TacetError wrong_base_model if it was made for another base; bad_bundle if its groups cannot be this model's
 */
export function checkGroups(
  manifest: BundleManifest,
  { fingerprint, knownBy }: BaseIdentity,
  inputGroups: readonly (readonly string[])[],
): void {
  const wanted = knownBy === "weights" ? manifest.baseFingerprint : manifest.baseVectorsFingerprint;
  if (wanted !== toHex(fingerprint)) {
    throw new TacetError("wrong_base_model", "the adapter was made for another base model", {
      hint: "use the base model that the provider names; 'tacet inspect --base DIR' prints a fingerprint",
    });
  }
  const placeOf = new Map(
    inputGroups.flatMap((modules, place) => modules.map((name) => [name, place] as const)),
  );
  let last = -1;
  for (const { modules } of manifest.groups) {
    const places = new Set(modules.map(({ name }) => placeOf.get(name)));
    const [place] = places;
    const distinct = new Set(modules.map(({ name }) => name)).size === modules.length;
    if (places.size !== 1 || place === undefined || place <= last || !distinct) {
      throw new TacetError("bad_bundle", "the bundle's groups are not groups of this model, in its order", {
        hint: "the provider must make the bundle again for this base model",
      });
    }
    last = place;
  }
}
