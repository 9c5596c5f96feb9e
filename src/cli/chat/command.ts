import type { Command } from "commander";
import { addDraftOptions } from "../shared/draft-options.ts";
import { addSamplingOptions } from "../shared/sampling-options.ts";
import { addSourceOptions } from "../shared/source-options.ts";
import { addTemplateOption } from "../shared/template-options.ts";
import type { ChatOptions } from "./run.ts";

export function registerChat(program: Command, signal: AbortSignal): void {
  const command = program.command("chat").description("talk to a model, privately where a provider is given");
  const sampled = addSamplingOptions(addSourceOptions(command), "the model's, or what fits");
  addTemplateOption(addDraftOptions(sampled))
    .option("--system <text>", "system message for the chat template")
    .option("--drop-oldest", "let go of the oldest turns when the context is full")
    .option("--no-history", "each message stands by itself (so always with the embedded dictionary)")
    .addHelpText(
      "after",
      `
On a terminal: arrow keys bring back what you typed, /help lists the commands,
Ctrl-C stops an answer, twice it quits. A paste of several lines is one message,
sent with Enter. What is typed during an answer is asked after it. Nothing is
kept on disk unless /save is used. Below an answer stand its tokens a second and
the time to the first one, the share of the time that the base model alone would
not have taken, bytes up and down, how many of the base model's drafts were
accepted and round trips a token where it drafts, and what is left of a budget.

The embedded model is a dictionary: "What is a Tender?" is looked up as
"tender", and a line says so.

With input from a pipe each line is a message, and its answer a line or
more on stdout; there are no prompts and no commands.

Examples:
  tacet chat
  tacet chat --base ./model --provider ws://127.0.0.1:8787 --system "be brief"
  printf 'tender\\nbattery\\n' | tacet chat --adapter models/lexicon/law-adapter`,
    )
    .action(async (options: ChatOptions) => {
      const { runChat } = await import("./run.ts");
      await runChat(options, signal);
    });
}
