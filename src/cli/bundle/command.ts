import type { Command } from "commander";
import { PART_NAMES } from "../../bundle/published-parts.ts";
import type { BundleOptions } from "./run.ts";

/** "norm,bias" */
const collectParts = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  ...text.split(",").map((name) => name.trim()),
];

export function registerBundle(program: Command, signal: AbortSignal): void {
  program
    .command("bundle")
    .description("prepare an adapter for serving: a public bundle and the provider's private state")
    .requiredOption("--adapter <dir>", "LoRA adapter in the PEFT layout, or its hub id")
    .option(
      "--base <dir>",
      "its base model: a Hugging Face folder, a GGUF file or a hub id (default: the embedded lexicon)",
    )
    .option(
      "--trained-on <dir>",
      "the original that it was trained on, where --base is a copy with other scales (AWQ): the adapter is carried over",
    )
    .requiredOption("--out <dir>", "state folder to write: bundle.safetensors, private.safetensors")
    .option("--name <name>", "what clients call it (default: the adapter folder's name)")
    .option(
      "--publish <parts>",
      `parts of the adapter that every client may have in the clear: ${PART_NAMES.join(", ")}`,
      collectParts,
    )
    .option("--signing-key <file>", "sign the bundle with this key; made where there is none")
    .option(
      "--marks-of <dir>",
      "accounts keep the marks of this earlier version (with --force: of the replaced one)",
    )
    .option("--force", "replace a bundle that is there")
    .option("--json", "print the result as one JSON object")
    .addHelpText(
      "after",
      `
Whoever has private.safetensors has the adapter. bundle.safetensors is public:
the provider sends it to every client. Publish its digest, or with
--signing-key once the key that is printed: clients hold you to it with
--bundle-digest or --provider-key.

Only the low-rank part of an adapter is private. Trained norms, biases, row
scales of DoRA, whole modules and rows of single tokens are applied where the
base model runs: an adapter that has some makes a bundle with --publish only.

Example:
  tacet bundle --base ./model --adapter ./law --out ./law-state --name law`,
    )
    .action(async (options: BundleOptions) => {
      const { runBundle } = await import("./run.ts");
      await runBundle(options, signal);
    });
}
