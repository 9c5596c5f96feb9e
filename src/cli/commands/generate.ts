import type { Command } from "commander";
import { decimal, integerIn } from "../arguments.ts";
import type { GenerateOptions } from "../run-generate.ts";
import { addPromptOptions, addSourceOptions } from "../source-options.ts";

export function registerGenerate(program: Command, signal: AbortSignal): void {
  const command = program
    .command("generate")
    .description("answer a prompt, privately where a provider is given");
  addSourceOptions(addPromptOptions(command))
    .option(
      "--max-new-tokens <n>",
      "longest answer, in tokens (default: 256 or what fits)",
      integerIn("--max-new-tokens", 1, 1 << 24),
    )
    .option("--temperature <t>", "draw tokens instead of taking the likeliest", decimal("--temperature"))
    .option("--top-p <p>", "draw from the likeliest that reach this probability", decimal("--top-p"))
    .option("--top-k <k>", "draw from this many", integerIn("--top-k", 0, 1 << 24))
    .option("--seed <n>", "the same draws for the same seed", integerIn("--seed", 0, Number.MAX_SAFE_INTEGER))
    .option("--resume <file>", "go on with an answer that --json printed")
    .option("--json", "one JSON object: ids, text, timings, bytes, round trips")
    .addHelpText(
      "after",
      `
Without --provider and --adapter the base model answers alone.

If the provider is lost and does not come back, the exit code is 5 and --json
still prints what there is; --resume FILE goes on from there: greedily as if
nothing had happened, with --temperature with new draws.

Examples:
  tacet generate tender
  tacet generate --provider ws://127.0.0.1:8787 tender
  echo "What is a tender?" | tacet generate --base ./model --json
  tacet generate --base ./model --ids 1,2227,318 --max-new-tokens 20`,
    )
    .action(async (words: string[], options: GenerateOptions) => {
      const { runGenerate } = await import("../run-generate.ts");
      await runGenerate(words, options, signal);
    });
}
