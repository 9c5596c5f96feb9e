import type { Command } from "commander";
import { collect } from "../shared/arguments.ts";
import type { InspectOptions } from "./run.ts";

export function registerInspect(program: Command, signal: AbortSignal): void {
  program
    .command("inspect")
    .description("say what a model, adapter, bundle, state folder or provider is; never weights")
    .option("--base <dir>", "base model: architecture, shapes, fingerprint")
    .option("--check-weights", "with --base: read all weights and refuse any that is not finite")
    .option("--adapter <dir>", "LoRA adapter: modules, ranks, scales")
    .option("--bundle <file>", "bundle: groups, digest, cost, security")
    .option("--state <dir>", "provider's state folder: its bundle, and whether both files fit")
    .option("--provider <url>", "running provider: its bundle and limits (for --base)", collect)
    .option("--adapter-name <name>", "which of the provider's adapters")
    .option("--token-file <file>", "bearer token for the provider (default: TACET_TOKEN)")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
Examples:
  tacet inspect --base ./model
  tacet inspect --bundle ./law-state/bundle.safetensors --json
  tacet inspect --provider ws://127.0.0.1:8787 --base ./model`,
    )
    .action(async (options: InspectOptions) => {
      const { runInspect } = await import("./run.ts");
      await runInspect(options, signal);
    });
}
