import type { Command } from "commander";
import { addDraftOptions } from "../shared/draft-options.ts";
import { addSamplingOptions } from "../shared/sampling-options.ts";
import { addPromptOptions, addSourceOptions } from "../shared/source-options.ts";
import { addTemplateOption } from "../shared/template-options.ts";
import type { GenerateFlags } from "./run.ts";

export function registerGenerate(program: Command, signal: AbortSignal): void {
  const command = program
    .command("generate")
    .description("answer a prompt, privately where a provider is given");
  const prompted = addTemplateOption(addPromptOptions(command));
  addDraftOptions(addSamplingOptions(addSourceOptions(prompted), "the model's, or 256, or what fits"))
    .option("--resume <file>", "go on with an answer that --json printed")
    .option("--json", "one JSON object: ids, text, timings, bytes, round trips")
    .addHelpText(
      "after",
      `
Without --provider and --adapter the base model answers alone.

A provider that is far away is asked about several tokens at a time: the base
model drafts them, and those that are right count. The answer is the same.

If the provider is lost and does not come back, the exit code is 5. With --json
what there is is still printed, and --resume FILE goes on from there as if
nothing had happened, where --temperature draws only with the same --seed.
Frequency and presence penalties then count from there. Without --json nothing
is kept.

Examples:
  tacet generate tender
  tacet generate --provider ws://127.0.0.1:8787 tender
  echo "What is a tender?" | tacet generate --base ./model --json
  tacet generate --stop "\\n\\n" --temperature 0.7 --top-p 0.9 --seed 1 tender
  tacet generate --base ./model --ids 1,2227,318 --max-new-tokens 20`,
    )
    .action(async (words: string[], options: GenerateFlags) => {
      const { runGenerate } = await import("./run.ts");
      await runGenerate(words, options, signal);
    });
}
