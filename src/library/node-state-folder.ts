/** The folder of one adapter version, as `tacet bundle` writes it and `loadServedAdapter` reads it, in Node. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { CreatedBundle } from "../bundle/create-bundle.ts";
import { type BundleSignature, encodeSignature } from "../bundle/signature.ts";
import { writeFiles } from "../platform/node.ts";
import { BUNDLE_FILE, PRIVATE_FILE, SIGNATURE_FILE } from "../provider/served-adapter.ts";

/** Paths of a state folder's files. */
export function stateFiles(dir: string): {
  readonly bundle: string;
  readonly private: string;
  readonly signature: string;
} {
  return {
    bundle: join(dir, BUNDLE_FILE),
    private: join(dir, PRIVATE_FILE),
    signature: join(dir, SIGNATURE_FILE),
  };
}

/**
 * Writes a bundle, its private state (readable by its owner alone) and its signature if it has one, all or none.
 *
 * @throws TacetError io_failed
 */
export async function writeStateFolder(
  dir: string,
  { bundle, privateState }: CreatedBundle,
  signature?: BundleSignature,
): Promise<void> {
  const paths = stateFiles(dir);
  await writeFiles([
    ...(signature ? [{ path: paths.signature, bytes: encodeSignature(signature), mode: 0o644 }] : []),
    { path: paths.private, bytes: privateState, mode: 0o600 },
    { path: paths.bundle, bytes: bundle, mode: 0o644 },
  ]);
  // A former bundle's would not belong to this one.
  if (!signature) await rm(paths.signature, { force: true });
}
