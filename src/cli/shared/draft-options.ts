/** The options of drafts (generation/drafts/drafting.ts), of every command that gives answers. */
import type { Command } from "commander";
import type { DraftLimits } from "../../generation/drafts/drafting.ts";
import { MOST_DRAFTS } from "../../generation/drafts/planned-drafts.ts";
import { decimalIn, integerIn } from "./arguments.ts";

export interface DraftFlags {
  readonly drafts?: number;
  readonly draftBudget?: number;
}

export function addDraftOptions(command: Command): Command {
  return command
    .option(
      "--drafts <n>",
      "tokens that the base model drafts for each pass; 0: none (default: by the line)",
      integerIn("--drafts", 0, MOST_DRAFTS),
    )
    .option(
      "--draft-budget <x>",
      "most vectors that wrong drafts cost, for each token (default: 1 where there is a budget)",
      decimalIn("--draft-budget", 0, 1000),
    )
    .option("--draft-adapter <dir>", "draft with this public adapter (PEFT folder or hub id)");
}

export function draftsOf({ drafts, draftBudget }: DraftFlags): DraftLimits {
  return { drafts, draftBudget };
}
