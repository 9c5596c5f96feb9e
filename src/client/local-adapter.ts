/** An adapter that the user holds, with what it changes about text. */
import type { FileTree } from "../base/platform.ts";
import { vocabSizeOf } from "../model/config-facts.ts";
import { readAdapterText } from "../text/read-adapter-text.ts";
import { type Checkpoint, withAdapterText } from "../weights/checkpoint.ts";
import { type LoraAdapter, openLoraAdapter } from "../weights/lora-adapter.ts";

export interface OpenedLocalAdapter {
  readonly adapter: LoraAdapter;
  /** The base with the adapter's text: what tokenizer and chat template are loaded from. */
  readonly checkpoint: Checkpoint;
}

/**
 * @param folder in the PEFT layout
 * @throws TacetError bad_adapter, unsupported_adapter
 */
export async function openLocalAdapter(folder: FileTree, base: Checkpoint): Promise<OpenedLocalAdapter> {
  const adapter = await openLoraAdapter(folder);
  const { text } = await readAdapterText(folder, base, vocabSizeOf(base));
  return { adapter, checkpoint: text === undefined ? base : withAdapterText(base, text) };
}
