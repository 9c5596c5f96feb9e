import { type Command, Option } from "commander";
import { collect, integerIn } from "../shared/arguments.ts";
import type { InspectOptions } from "./run.ts";

export function registerInspect(program: Command, signal: AbortSignal): void {
  program
    .command("inspect")
    .description("say what a model, adapter, bundle, state folder or provider is; never weights")
    .option("--base <dir>", "base model: architecture, shapes, fingerprint")
    .option("--check-weights", "with --base: read all weights and refuse any that is not finite")
    .option(
      "--against <dir>",
      "with --base: how near this one comes to it, a quantized copy (folder, GGUF file, hub id)",
    )
    .addOption(formatOption("--weights <kind>", "with --against: how --base is held in memory"))
    .addOption(formatOption("--against-weights <kind>", "the same for --against"))
    .option("--weights-cache <dir>", "where int8 and int4 weights are kept (default: ~/.cache/tacet/weights)")
    .option("--text <file>", "with --against: what both read (default: a text of the package)")
    .option(
      "--tokens <n>",
      "with --against: tokens of it that are compared (default: 512)",
      integerIn("--tokens", 32, 1 << 20),
    )
    .option("--threads <n>", "with --against: threads for one operator", integerIn("--threads", 1, 1024))
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
  tacet inspect --base ./model --against ./model-gptq
  tacet inspect --bundle ./law-state/bundle.safetensors --json
  tacet inspect --provider ws://127.0.0.1:8787 --base ./model`,
    )
    .action(async (options: InspectOptions) => {
      const { runInspect } = await import("./run.ts");
      await runInspect(options, signal);
    });
}

function formatOption(flags: string, description: string): Option {
  return new Option(flags, `${description} (default: original)`).choices(["original", "int8", "int4"]);
}
