import type { Command } from "commander";
import type { TraceOptions } from "./run.ts";

export function registerTrace(program: Command, signal: AbortSignal): void {
  program
    .command("trace")
    .description("find out whose account a suspected copy of an adapter was made with")
    .requiredOption(
      "--state <dir>",
      "the adapter's folder, as 'tacet bundle' wrote it: the version that was copied",
    )
    .requiredOption(
      "--copy <dir>",
      "the suspect: a PEFT adapter of any rank, or a whole model it was merged into",
    )
    .option("--data <dir>", "keys and accounts of the provider, revoked ones included")
    .option("--redis <url>", "instead of --data: the Redis server that has them (default: TACET_REDIS_URL)")
    .option("--redis-prefix <text>", "begins all keys in the Redis database (default: tacet:)")
    .option(
      "--base <dir>",
      "the base model, where the copy is a whole model: a Hugging Face folder, a GGUF file or a hub id",
    )
    .option("--json", "the report as JSON")
    .option("--plot <file>", "write the scores as SVG")
    .addHelpText(
      "after",
      `
Works for what was asked of a provider that was started with --marks. Names an
account where one of them would be named by chance less than once in 10^9
traces. Exit status 0 whether one is named or none; docs/provider.md says what to
do with a leaked copy, and docs/security.md what a mark proves.

Examples:
  tacet trace --state ./law-state --data ./data --copy ./suspect
  tacet trace --state ./law-state --data ./data --copy ./merged --base ./model --plot trace.svg`,
    )
    .action(async (options: TraceOptions) => {
      const { runTrace } = await import("./run.ts");
      await runTrace(options, signal);
    });
}
