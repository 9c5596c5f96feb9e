/**
 * A bundle: what the provider publishes for one adapter version, one safetensors file. Groups with their
 * scales and public bases, and what the provider has chosen to show of the rest (published-parts.ts); never a polynomial, never code, and nothing of the private weights: those travel encrypted, in
 * keys. Identified by its SHA-256 digest.
 *
 * Everything is checked at load (docs/security.md, rule 6): lengths, finite positive scales, orthonormal bases.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesOf } from "../base/bytes.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import {
  encodeSafetensors,
  openSafetensors,
  readTensorBytes,
  type SafetensorsFile,
  type TensorInfo,
  type TensorToEncode,
} from "../weights/safetensors.ts";
import { type BaseChanges, NO_CHANGES } from "../weights/base-changes.ts";
import { decodeChanges, encodeChanges } from "./bundle-changes.ts";
import { toFloat16, widenF16 } from "../base/float16.ts";
import { type BundleManifest, decodeManifest, encodeManifest, bundleRefusal, groupRows } from "./manifest.ts";

const MANIFEST_KEY = "tacet";
const FILE = "bundle.safetensors";
/** Largest entry of |B′ᵀB′ − I| that is accepted; float16 rounding stays below 2^-9. */
const ORTHONORMAL_TOLERANCE = 1e-2;

export interface BundleTensors {
  /** One positive scale per row. */
  readonly scales: Float64Array;
  /** For each module B′ (outFeatures, rows) row-major. */
  readonly bases: readonly Float32Array[];
}

export interface Bundle {
  readonly manifest: BundleManifest;
  readonly groups: readonly BundleTensors[];
  /** What the adapter changes of the base model in the clear. */
  readonly changes: BaseChanges;
  /** SHA-256 of the file. */
  readonly digest: Uint8Array;
  /** The file. */
  readonly bytes: Uint8Array;
}

export function encodeBundle(
  manifest: BundleManifest,
  groups: readonly BundleTensors[],
  changes: BaseChanges = NO_CHANGES,
): Uint8Array {
  const tensors: TensorToEncode[] = [];
  for (const [g, group] of groups.entries()) {
    const spec = manifest.groups[g];
    const rows = groupRows(spec);
    tensors.push({ name: `group.${g}.scales`, dtype: "F64", shape: [rows], data: bytesOf(group.scales) });
    for (const [i, basis] of group.bases.entries()) {
      const shape = [spec.modules[i].outFeatures, spec.modules[i].rows];
      tensors.push({ name: `group.${g}.basis.${i}`, dtype: "F16", shape, data: bytesOf(toFloat16(basis)) });
    }
  }
  tensors.push(...encodeChanges(changes));
  return encodeSafetensors(tensors, { [MANIFEST_KEY]: encodeManifest(manifest) });
}

/** @throws TacetError bad_bundle if anything in the file is not as it must be */
export async function decodeBundle(bytes: Uint8Array): Promise<Bundle> {
  const tree = memoryFileTree({ [FILE]: bytes }, "bundle");
  const file = await openSafetensors(tree, FILE, "bad_bundle");
  const text = file.metadata[MANIFEST_KEY];
  if (text === undefined) throw bundleRefusal("it has no manifest");
  const manifest = decodeManifest(text);
  const groups: BundleTensors[] = [];
  for (const [g, group] of manifest.groups.entries()) {
    const rows = groupRows(group);
    const read = (info: TensorInfo) => readTensorBytes(tree, info);
    const scaleBytes = await read(expect(file, `group.${g}.scales`, "F64", [rows]));
    const scales = new Float64Array(new Uint8Array(scaleBytes).buffer);
    if (!scales.every((scale) => scale >= 2 ** -100 && scale < 2 ** 100))
      throw bundleRefusal(`group ${g} has a scale out of range`);
    const bases: Float32Array[] = [];
    for (const [i, module] of group.modules.entries()) {
      const info = expect(file, `group.${g}.basis.${i}`, "F16", [module.outFeatures, module.rows]);
      const basis = widenF16(new Uint16Array(new Uint8Array(await read(info)).buffer));
      if (!isOrthonormal(basis, module.outFeatures, module.rows)) {
        throw bundleRefusal(`the basis of ${module.name} is not orthonormal`);
      }
      bases.push(basis);
    }
    groups.push({ scales, bases });
  }
  const changes =
    manifest.changes === undefined
      ? NO_CHANGES
      : await decodeChanges(
          manifest.changes,
          async (name, dtype, shape) =>
            new Uint8Array(await readTensorBytes(tree, expect(file, name, dtype, shape))),
        );
  return { manifest, groups, changes, digest: sha256(bytes), bytes };
}

function expect(file: SafetensorsFile, name: string, dtype: string, shape: readonly number[]): TensorInfo {
  const info = file.tensors.get(name);
  if (info === undefined) throw bundleRefusal(`tensor ${name} is missing`);
  if (info.dtype !== dtype || info.shape.join() !== shape.join()) {
    throw bundleRefusal(`tensor ${name} is ${info.dtype} [${info.shape}] and not ${dtype} [${shape}]`);
  }
  return info;
}

/** Whether |BᵀB − I| stays below the tolerance, B (m, k) row-major. False for NaN. */
function isOrthonormal(basis: Float32Array, m: number, k: number): boolean {
  const gram = new Float64Array(k * k);
  for (let i = 0; i < m; i++) {
    for (let a = 0; a < k; a++) {
      const left = basis[i * k + a];
      for (let b = a; b < k; b++) gram[a * k + b] += left * basis[i * k + b];
    }
  }
  for (let a = 0; a < k; a++) {
    for (let b = a; b < k; b++) {
      if (!(Math.abs(gram[a * k + b] - (a === b ? 1 : 0)) < ORTHONORMAL_TOLERANCE)) return false;
    }
  }
  return true;
}
