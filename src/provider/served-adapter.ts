/** An adapter version that a provider serves: its public bundle and its private layers, ready to answer. */
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { type Bundle, decodeBundle } from "../bundle/bundle.ts";
import { rowsOf } from "../bundle/manifest.ts";
import { readPrivateState } from "../bundle/private-state.ts";
import { ProviderLayer } from "../pll/provider-steps.ts";
import { Kernels } from "../ring/kernels.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";

/** Names of the two files in a state folder. */
export const BUNDLE_FILE = "bundle.safetensors";
export const PRIVATE_FILE = "private.safetensors";

export interface ServedAdapter {
  readonly name: string;
  readonly bundle: Bundle;
  /** One for each group of the bundle. */
  readonly layers: readonly ProviderLayer[];
}

/**
 * Loads a state folder as 'tacet bundle' writes it.
 *
 * @throws TacetError bad_bundle, bad_state, io_failed
 */
export async function loadServedAdapter(tree: FileTree): Promise<ServedAdapter> {
  const size = await tree.size(BUNDLE_FILE);
  if (size === undefined) {
    throw new TacetError("bad_state", `${tree.label} has no ${BUNDLE_FILE}`, {
      hint: "give a folder that 'tacet bundle' wrote",
    });
  }
  const bundle = await decodeBundle(await tree.read(BUNDLE_FILE, 0, size));
  const { manifest } = bundle;
  const secrets = await readPrivateState(tree, PRIVATE_FILE, manifest, bundle.digest);
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const layers = manifest.groups.map(
    (group, g) =>
      new ProviderLayer(kernels, pool, {
        parameters: manifest.parameters,
        rows: rowsOf(group),
        inFeatures: group.inFeatures,
        ...secrets[g],
      }),
  );
  return { name: manifest.adapter, bundle, layers };
}
