/** From an adapter's folder to the two files that a provider serves. */
import { setImmediate } from "node:timers/promises";
import { type CreateBundleInput, type CreatedBundle, createBundle } from "../../bundle/create-bundle.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { systemRandom } from "../../ring/random-source.ts";
import type { AdapterText } from "../../weights/adapter-text.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import type { LoraAdapter } from "../../weights/lora-adapter.ts";
import { Progress } from "../shared/progress.ts";

/** @throws TacetError bad_adapter, unsupported_adapter, aborted */
export async function makeBundle(
  checkpoint: Checkpoint,
  adapter: LoraAdapter,
  options: {
    name: string;
    text?: AdapterText | undefined;
    markSecret?: Uint8Array | undefined;
    signal: AbortSignal;
  },
): Promise<CreatedBundle> {
  const groups = fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const { name, text, markSecret } = options;
  const input: CreateBundleInput = {
    ...{ adapter: name, baseFingerprint, groups, modules: adapter.modules },
    text,
    markSecret,
    invocationTokens: adapter.invocationTokens,
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
