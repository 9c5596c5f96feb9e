/**
 * The provider's private state for one bundle: W of every group, the root secret of its keys and what signs them, one safetensors file.
 * Whoever has this file has the adapter, and with a client's keys whatever that client has been sent.
 */
import { bytesOf, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree, PublicKeyEd25519 } from "../base/platform.ts";
import { ROOT_SECRET_BYTES } from "../pll/key-secrets.ts";
import { MARK_SECRET_BYTES } from "../pll/marks.ts";
import {
  encodeSafetensors,
  openSafetensors,
  readTensorBytes,
  type TensorToEncode,
} from "../weights/safetensors.ts";
import { type BundleManifest, groupRows } from "./manifest.ts";
import { publicKeyOf } from "./signature.ts";

const DIGEST_KEY = "tacet.bundle";
const ROOT_SECRET = "root_secret";
const KEY_SIGNING_KEY = "key_signing_key";
const MARK_SECRET = "mark_secret";

export interface PrivateGroup {
  /** W, (rows, inFeatures). */
  readonly weights: Int32Array;
}

export interface PrivateState {
  /** What all keys of the adapter are derived from; 32 bytes. */
  readonly rootSecret: Uint8Array;
  /** Ed25519, 32 bytes: its public half is the manifest's keySigner. */
  readonly keySigningKey: Uint8Array;
  /** What accounts' marks are derived from (pll/marks.ts); 32 bytes. */
  readonly markSecret: Uint8Array;
  readonly groups: readonly PrivateGroup[];
}

export function encodePrivateState(
  manifest: BundleManifest,
  bundleDigest: Uint8Array,
  { rootSecret, keySigningKey, markSecret, groups }: PrivateState,
): Uint8Array {
  const weights = groups.map(
    ({ weights }, g): TensorToEncode => ({
      name: `group.${g}.weights`,
      dtype: "I32",
      shape: [groupRows(manifest.groups[g]), manifest.groups[g].inFeatures],
      data: bytesOf(weights),
    }),
  );
  const root = { name: ROOT_SECRET, dtype: "U8", shape: [ROOT_SECRET_BYTES], data: rootSecret } as const;
  const signer = { name: KEY_SIGNING_KEY, dtype: "U8", shape: [32], data: keySigningKey } as const;
  const mark = { name: MARK_SECRET, dtype: "U8", shape: [MARK_SECRET_BYTES], data: markSecret } as const;
  return encodeSafetensors([root, signer, mark, ...weights], { [DIGEST_KEY]: toHex(bundleDigest) });
}

/**
 * @param options.publicKeyEd25519 a faster one than the portable; the bytes are the same
 * @throws TacetError bad_state if the file is damaged or belongs to another bundle
 */
export async function readPrivateState(
  tree: FileTree,
  path: string,
  manifest: BundleManifest,
  bundleDigest: Uint8Array,
  { publicKeyEd25519 = publicKeyOf }: { readonly publicKeyEd25519?: PublicKeyEd25519 | undefined } = {},
): Promise<PrivateState> {
  const file = await openSafetensors(tree, path, "bad_state");
  if (file.metadata[DIGEST_KEY] !== toHex(bundleDigest)) {
    throw new TacetError("bad_state", `${path} does not belong to the bundle beside it`, {
      hint: "both files are written together by 'tacet bundle'; make them again",
    });
  }
  const read = async (name: string, dtype: string, shape: readonly number[]): Promise<Uint8Array> => {
    const info = file.tensors.get(name);
    if (info === undefined || info.dtype !== dtype || info.shape.join() !== shape.join()) {
      throw new TacetError("bad_state", `${path}: tensor ${name} is missing or has another shape`, {
        hint: "the file is damaged: make it again with 'tacet bundle'",
      });
    }
    return new Uint8Array(await readTensorBytes(tree, info));
  };
  const rootSecret = await read(ROOT_SECRET, "U8", [ROOT_SECRET_BYTES]);
  const keySigningKey = await read(KEY_SIGNING_KEY, "U8", [32]);
  if (toHex(publicKeyEd25519(keySigningKey)) !== manifest.keySigner) {
    throw new TacetError("bad_state", `${path}: its signing key is not the one that the bundle names`, {
      hint: "the file is damaged: make it again with 'tacet bundle'",
    });
  }
  const markSecret = await read(MARK_SECRET, "U8", [MARK_SECRET_BYTES]);
  const groups: PrivateGroup[] = [];
  for (const [g, group] of manifest.groups.entries()) {
    const bytes = await read(`group.${g}.weights`, "I32", [groupRows(group), group.inFeatures]);
    groups.push({ weights: new Int32Array(bytes.buffer) });
  }
  return { rootSecret, keySigningKey, markSecret, groups };
}
