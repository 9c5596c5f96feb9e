import type { Command } from "commander";
import { collect } from "../shared/arguments.ts";
import type { DemoOptions } from "./run.ts";

export function registerDemo(program: Command, signal: AbortSignal): void {
  program
    .command("demo")
    .description("see it work: the embedded model here, its law adapter in a provider process")
    .option("--word <word>", "ask for this word; repeat for more", collect)
    .addHelpText(
      "after",
      `
Makes a bundle of the embedded law adapter, starts a provider on a free port of
this machine, and asks for a few words: the base model alone, then privately.
Exit code 1: an answer was not what the plaintext adapter says.

Example:
  tacet demo --word trust --word bail`,
    )
    .action(async (options: DemoOptions) => {
      const { runDemo } = await import("./run.ts");
      process.exitCode = await runDemo(options, signal);
    });
}
