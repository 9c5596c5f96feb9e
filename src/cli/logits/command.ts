import type { Command } from "commander";
import { integerIn } from "../shared/arguments.ts";
import { addPromptOptions, addSourceOptions } from "../shared/source-options.ts";
import type { LogitsOptions } from "./run.ts";

export function registerLogits(program: Command, signal: AbortSignal): void {
  const command = program.command("logits").description("print the logits that follow a prompt");
  addSourceOptions(addPromptOptions(command))
    .option("--top <n>", "how many of the largest (default: 10)", integerIn("--top", 1, 1 << 24))
    .option("--compare", "with --provider and --adapter: how far they are apart")
    .option("--json", "one JSON object with all logits, or with the comparison")
    .addHelpText(
      "after",
      `
Examples:
  tacet logits tender --top 5
  tacet logits --ids 1,2227,318 --json
  tacet logits tender --provider ws://127.0.0.1:8787 --adapter ./law --compare`,
    )
    .action(async (words: string[], options: LogitsOptions) => {
      const { runLogits } = await import("./run.ts");
      await runLogits(words, options, signal);
    });
}
