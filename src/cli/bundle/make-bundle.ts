/** From an adapter's folder to the two files that a provider serves. */
import { setImmediate } from "node:timers/promises";
import { type CreateBundleInput, type CreatedBundle, createBundle } from "../../bundle/create-bundle.ts";
import type { FittedAdapter } from "../../model/adapter/fit-adapter.ts";
import type { PartName } from "../../bundle/published-parts.ts";
import { systemRandom } from "../../ring/random-source.ts";
import type { AdapterText } from "../../weights/adapter-text.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { vectorsFingerprint } from "../../model/base-identity.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import { Progress } from "../shared/progress.ts";

/** @throws TacetError bad_adapter, unsupported_adapter, aborted */
export async function makeBundle(
  checkpoint: Checkpoint,
  adapter: FittedAdapter,
  options: {
    name: string;
    text?: AdapterText | undefined;
    publish?: readonly PartName[];
    markSecret?: Uint8Array | undefined;
    signal: AbortSignal;
  },
): Promise<CreatedBundle> {
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const baseVectorsFingerprint = await vectorsFingerprint(checkpoint);
  const { name, text, publish = [], markSecret } = options;
  const input: CreateBundleInput = {
    ...{ adapter: name, baseFingerprint, baseVectorsFingerprint, publish, ...adapter },
    text,
    markSecret,
  };
  return await Progress.during("making the bundle", (update) =>
    createBundle(input, systemRandom, async (done, total) => {
      update(done / total);
      // Setup does not yield: Ctrl-C and the bar get their turn here.
      await setImmediate();
      options.signal.throwIfAborted();
    }),
  );
}
