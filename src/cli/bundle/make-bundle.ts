/** From an adapter's folder to the two files that a provider serves. */
import { rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { type CreatedBundle, createBundle } from "../../bundle/create-bundle.ts";
import { type BundleSignature, encodeSignature } from "../../bundle/signature.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { systemRandom } from "../../ring/random-source.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import type { LoraAdapter } from "../../weights/lora-adapter.ts";
import { Progress } from "../shared/progress.ts";
import { type FileToWrite, writeFiles } from "../shared/write-files.ts";

/** @throws TacetError bad_adapter, unsupported_adapter, aborted */
export async function makeBundle(
  checkpoint: Checkpoint,
  adapter: LoraAdapter,
  options: { name: string; signal: AbortSignal },
): Promise<CreatedBundle> {
  const groups = fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  return await Progress.during("making the bundle", (update) =>
    createBundle(
      { adapter: options.name, baseFingerprint, groups, modules: adapter.modules },
      systemRandom,
      async (done, total) => {
        update(done / total);
        // Setup does not yield: Ctrl-C and the bar get their turn here.
        await setImmediate();
        options.signal.throwIfAborted();
      },
    ),
  );
}

/** The public file for everybody, the private one for its owner alone. */
export async function writeBundle(
  made: CreatedBundle,
  paths: { bundle: string; private: string; signature?: string },
  signature?: BundleSignature,
): Promise<void> {
  const files: FileToWrite[] = [
    ...(signature && paths.signature
      ? [{ path: paths.signature, bytes: encodeSignature(signature), mode: 0o644 }]
      : []),
    { path: paths.private, bytes: made.privateState, mode: 0o600 },
    { path: paths.bundle, bytes: made.bundle, mode: 0o644 },
  ];
  await writeFiles(files);
  // The old one's would not belong to the new bundle.
  if (!signature && paths.signature) await rm(paths.signature, { force: true });
}
