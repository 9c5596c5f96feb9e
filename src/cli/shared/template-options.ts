/** What the chat template reads besides the conversation; the same for `generate`, `chat` and `serve`. */
import type { Command } from "commander";
import type { TemplateVariables } from "../../text/chat-template.ts";
import { collectJson } from "./arguments.ts";

export interface TemplateFlags {
  /** By name. */
  readonly templateArg?: TemplateVariables;
}

export function addTemplateOption(command: Command): Command {
  return command.option(
    "--template-arg <name=json>",
    "a variable of the chat template, as in enable_thinking=false; may be repeated",
    collectJson("--template-arg"),
  );
}
