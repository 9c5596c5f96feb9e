/** A provider of the embedded law adapter, in a separate process: for commands that are tried without one. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CreatedBundle } from "../../bundle/create-bundle.ts";
import { writeStateFolder } from "../../library/node-state-folder.ts";
import { nodeFileTree } from "../../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { makeBundle } from "../bundle/make-bundle.ts";
import { EMBEDDED_ADAPTER, EMBEDDED_BASE } from "./embedded.ts";
import { onExit } from "./interrupt.ts";
import { startProvider } from "./provider-process.ts";

/** Makes the embedded adapter's bundle and writes both files into a folder that is there. */
export async function writeEmbeddedState(
  checkpoint: Checkpoint,
  state: string,
  signal: AbortSignal,
): Promise<CreatedBundle> {
  const adapter = await openLoraAdapter(nodeFileTree(EMBEDDED_ADAPTER));
  const fitted = await fitAdapter(adapter, checkpoint);
  const made = await makeBundle(checkpoint, fitted, { name: "law", signal });
  await writeStateFolder(state, made);
  return made;
}

/** Stop it; its state folder goes with it. */
export async function startEmbeddedProvider(
  signal: AbortSignal,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const state = mkdtempSync(join(tmpdir(), "tacet-provider-"));
  const remove = (): void => rmSync(state, { recursive: true, force: true });
  const forget = onExit(remove);
  try {
    chmodSync(state, 0o700);
    const checkpoint = await openCheckpoint(nodeFileTree(EMBEDDED_BASE));
    await writeEmbeddedState(checkpoint, state, signal);
    const provider = await startProvider(state);
    return {
      url: provider.url,
      async stop() {
        await provider.stop();
        remove();
        forget();
      },
    };
  } catch (error) {
    remove();
    forget();
    throw error;
  }
}
