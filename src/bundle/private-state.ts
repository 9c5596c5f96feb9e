/**
 * The provider's private state for one bundle: W and P of every group, one safetensors file. Whoever has this
 * file has the adapter.
 */
import { bytesOf, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import {
  encodeSafetensors,
  openSafetensors,
  readTensorBytes,
  type TensorToEncode,
} from "../weights/safetensors.ts";
import { type BundleManifest, rowsOf } from "./manifest.ts";

const DIGEST_KEY = "tacet.bundle";

export interface PrivateGroup {
  /** W, (rows, inFeatures). */
  readonly weights: Int16Array;
  /** P, (rows, n_pad). */
  readonly padding: Int16Array;
}

export function encodePrivateState(
  manifest: BundleManifest,
  bundleDigest: Uint8Array,
  groups: readonly PrivateGroup[],
): Uint8Array {
  const tensors: TensorToEncode[] = groups.flatMap(({ weights, padding }, g) => {
    const spec = manifest.groups[g];
    const rows = rowsOf(spec);
    return [
      { name: `group.${g}.weights`, dtype: "I16", shape: [rows, spec.inFeatures], data: bytesOf(weights) },
      {
        name: `group.${g}.padding`,
        dtype: "I16",
        shape: [rows, manifest.parameters.paddingLength],
        data: bytesOf(padding),
      },
    ] as const;
  });
  return encodeSafetensors(tensors, { [DIGEST_KEY]: toHex(bundleDigest) });
}

/** @throws TacetError bad_state if the file is damaged or belongs to another bundle */
export async function readPrivateState(
  tree: FileTree,
  path: string,
  manifest: BundleManifest,
  bundleDigest: Uint8Array,
): Promise<PrivateGroup[]> {
  const file = await openSafetensors(tree, path, "bad_state");
  if (file.metadata[DIGEST_KEY] !== toHex(bundleDigest)) {
    throw new TacetError("bad_state", `${path} does not belong to the bundle beside it`, {
      hint: "both files are written together by 'tacet bundle'; make them again",
    });
  }
  const read = async (name: string, shape: readonly number[]): Promise<Int16Array> => {
    const info = file.tensors.get(name);
    if (info === undefined || info.dtype !== "I16" || info.shape.join() !== shape.join()) {
      throw new TacetError("bad_state", `${path}: tensor ${name} is missing or has another shape`, {
        hint: "the file is damaged: make it again with 'tacet bundle'",
      });
    }
    return new Int16Array(new Uint8Array(await readTensorBytes(tree, info)).buffer);
  };
  const groups: PrivateGroup[] = [];
  for (const [g, group] of manifest.groups.entries()) {
    const rows = rowsOf(group);
    groups.push({
      weights: await read(`group.${g}.weights`, [rows, group.inFeatures]),
      padding: await read(`group.${g}.padding`, [rows, manifest.parameters.paddingLength]),
    });
  }
  return groups;
}
