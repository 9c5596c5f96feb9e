/** The folder of one adapter version, as `tacet bundle` writes it and `loadServedAdapter` reads it, in Node. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { TacetError } from "../base/errors.ts";
import type { CreatedBundle } from "../bundle/create-bundle.ts";
import { type BundleSignature, encodeSignature } from "../bundle/signature.ts";
import { writeAtomically } from "../platform/node.ts";
import { BUNDLE_FILE, PRIVATE_FILE, SIGNATURE_FILE } from "../provider/served-adapter.ts";

/**
 * Writes a bundle, its private state (readable by its owner alone) and its signature if it has one. The bundle comes
 * last: a folder whose writing broke off is refused when it is loaded.
 *
 * @throws TacetError io_failed
 */
export async function writeStateFolder(
  dir: string,
  { bundle, privateState }: CreatedBundle,
  signature?: BundleSignature,
): Promise<void> {
  const write = (name: string, bytes: Uint8Array, mode: number) =>
    writeAtomically(join(dir, name), bytes, mode, dir);
  try {
    await write(PRIVATE_FILE, privateState, 0o600);
    // A former bundle's signature would not belong to this one.
    if (signature === undefined) await rm(join(dir, SIGNATURE_FILE), { force: true });
    else await write(SIGNATURE_FILE, encodeSignature(signature), 0o644);
    await write(BUNDLE_FILE, bundle, 0o644);
  } catch (cause) {
    const code = String((cause as { code?: unknown } | null)?.code ?? "unknown error");
    throw new TacetError("io_failed", `the state folder ${dir} cannot be written (${code})`, { cause });
  }
}
