/** An adapter version that a provider serves: its public bundle and its private layers, ready to answer. */
import { TacetError } from "../base/errors.ts";
import type { FileTree, PublicKeyEd25519 } from "../base/platform.ts";
import { type Bundle, decodeBundle } from "../bundle/bundle.ts";
import { bundleIdBytes, groupRows } from "../bundle/manifest.ts";
import { readPrivateState } from "../bundle/private-state.ts";
import { type BundleSignature, decodeSignature, isSignedBy } from "../bundle/signature.ts";
import { ProviderLayer } from "../pll/provider-layer.ts";
import type { ProviderLayerInput } from "../pll/weight-encryption.ts";
import { Kernels } from "../ring/kernels.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { PublicElements } from "../rlwe/public-elements.ts";

/** Names of the two files in a state folder. */
export const BUNDLE_FILE = "bundle.safetensors";
export const PRIVATE_FILE = "private.safetensors";
/** A third one where the bundle is signed. */
export const SIGNATURE_FILE = "bundle.signature";

export interface ServedAdapter {
  readonly name: string;
  readonly bundle: Bundle;
  readonly signature?: BundleSignature | undefined;
  /** One for each group of the bundle. */
  readonly layers: readonly ProviderLayer[];
  /** What all keys are derived from. Secret. */
  readonly rootSecret: Uint8Array;
  /** What accounts' marks are derived from. Secret. Absent: accounts are not marked. */
  readonly markSecret?: Uint8Array | undefined;
  /** Ed25519: signs each part of a key. Secret; its public half is in the bundle. */
  readonly keySigningKey: Uint8Array;
}

/**
 * Loads a state folder as 'tacet bundle' writes it.
 *
 * @param options.marks give every account W + D, by which a copy of its answers is known (pll/marks.ts)
 * @param options.publicKeyEd25519 a faster one than the portable; the bytes are the same
 * @throws TacetError bad_bundle, bad_state, io_failed
 */
export async function loadServedAdapter(
  tree: FileTree,
  {
    marks = false,
    publicKeyEd25519,
  }: {
    readonly marks?: boolean | undefined;
    readonly publicKeyEd25519?: PublicKeyEd25519 | undefined;
  } = {},
): Promise<ServedAdapter> {
  const size = await tree.size(BUNDLE_FILE);
  if (size === undefined) {
    throw new TacetError("bad_state", `${tree.label} has no ${BUNDLE_FILE}`, {
      hint: "give a folder that 'tacet bundle' wrote",
    });
  }
  const bundle = await decodeBundle(await tree.read(BUNDLE_FILE, 0, size));
  const { manifest } = bundle;
  const { rootSecret, keySigningKey, markSecret, groups } = await readPrivateState(
    tree,
    PRIVATE_FILE,
    manifest,
    bundle.digest,
    { publicKeyEd25519 },
  );
  const signature = await readSignature(tree, bundle.digest);
  const layers = loadLayers(
    bundleIdBytes(manifest),
    manifest.groups.map((group, g) => ({
      parameters: manifest.parameters,
      rows: groupRows(group),
      inFeatures: group.inFeatures,
      ...groups[g],
    })),
  );
  return {
    name: manifest.adapter,
    bundle,
    layers,
    rootSecret,
    keySigningKey,
    ...(marks && { markSecret }),
    signature,
  };
}

async function readSignature(tree: FileTree, digest: Uint8Array): Promise<BundleSignature | undefined> {
  const size = await tree.size(SIGNATURE_FILE);
  if (size === undefined) return undefined;
  const signature = decodeSignature(await tree.read(SIGNATURE_FILE, 0, Math.min(size, 1024)));
  if (signature !== undefined && isSignedBy(signature, digest)) return signature;
  throw new TacetError("bad_state", `${SIGNATURE_FILE} does not belong to the bundle beside it`, {
    hint: "make the bundle again with 'tacet bundle --signing-key FILE', or remove the signature",
  });
}

/** Layers in a separate kernel memory. Throws RangeError if it can't hold them. */
export function loadLayers(bundleId: Uint8Array, inputs: readonly ProviderLayerInput[]): ProviderLayer[] {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const elements = new PublicElements(kernels, pool, bundleId);
  return inputs.map((input) => new ProviderLayer(kernels, pool, elements, input));
}
