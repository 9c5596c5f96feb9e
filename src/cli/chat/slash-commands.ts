/** What a line of an interactive chat asks for: a message, or one of the commands. */
import { TacetError } from "../../base/errors.ts";

export const COMMANDS = {
  help: ["/help", "this list"],
  system: ["/system TEXT", "set the system message; without a text, remove it"],
  reset: ["/reset", "forget the conversation; the system message stays"],
  retry: ["/retry", "answer the last message once more"],
  save: ["/save FILE", "write the conversation into a new file, as JSON"],
  quit: ["/quit", "end, as Ctrl-D does"],
} as const satisfies Record<string, readonly [usage: string, help: string]>;

export type CommandName = keyof typeof COMMANDS;

export type ChatLine =
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "command"; readonly name: CommandName; readonly argument: string };

/**
 * A line that begins with "/" is a command, with "//" a message that begins with "/".
 * @throws TacetError bad_argument for a command that there is not, or an argument that is missing or too much
 */
export function parseLine(line: string): ChatLine {
  if (!line.startsWith("/")) return { kind: "message", text: line };
  if (line.startsWith("//")) return { kind: "message", text: line.slice(1) };
  const [, name, argument] = /^\/(\S*)\s*(.*)$/su.exec(line.trimEnd())!;
  if (!Object.hasOwn(COMMANDS, name)) {
    throw new TacetError("bad_argument", "there is no such command", {
      hint: "/help lists the commands; begin with // to send a message that begins with /",
    });
  }
  const [usage] = COMMANDS[name as CommandName];
  const takesArgument = usage.includes(" ");
  if ((argument === "" && name === "save") || (argument !== "" && !takesArgument))
    throw new TacetError("bad_argument", `the command is ${usage}`);
  return { kind: "command", name: name as CommandName, argument };
}
