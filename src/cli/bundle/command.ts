import type { Command } from "commander";
import type { BundleOptions } from "./run.ts";

export function registerBundle(program: Command, signal: AbortSignal): void {
  program
    .command("bundle")
    .description("prepare an adapter for serving: a public bundle and the provider's private state")
    .requiredOption("--adapter <dir>", "LoRA adapter in the PEFT layout, or its hub id")
    .option("--base <dir>", "its base model, a Hugging Face folder or hub id (default: the embedded lexicon)")
    .requiredOption("--out <dir>", "state folder to write: bundle.safetensors, private.safetensors")
    .option("--name <name>", "what clients call it (default: the adapter folder's name)")
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

Example:
  tacet bundle --base ./model --adapter ./law --out ./law-state --name law`,
    )
    .action(async (options: BundleOptions) => {
      const { runBundle } = await import("./run.ts");
      await runBundle(options, signal);
    });
}
