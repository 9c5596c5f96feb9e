#!/usr/bin/env node
/** The command line: `tacet COMMAND`. Each command has a folder (command.ts, run.ts); what they share is in shared/. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { TacetError } from "../base/errors.ts";
import { registerTrace } from "./trace/command.ts";
import { registerAudit } from "./audit/command.ts";
import { registerBundle } from "./bundle/command.ts";
import { registerChat } from "./chat/command.ts";
import { registerDemo } from "./demo/command.ts";
import { registerGenerate } from "./generate/command.ts";
import { registerInspect } from "./inspect/command.ts";
import { registerKeys } from "./keys/command.ts";
import { registerLogits } from "./logits/command.ts";
import { registerProvider } from "./provider/command.ts";
import { registerServe } from "./serve/command.ts";
import { PACKAGE_JSON } from "./shared/embedded.ts";
import { watchInterruptions } from "./shared/interrupt.ts";
import { describeFailure, reportFailure } from "./shared/report-error.ts";
import { hasPrintedJson, printJson, WIDTH } from "./shared/terminal.ts";
import { registerWeb } from "./web/command.ts";

const { version } = JSON.parse(readFileSync(PACKAGE_JSON, "utf8")) as { version: string };
const interruption = watchInterruptions();
const helpWidth = () => Math.min(WIDTH, process.stdout.columns ?? WIDTH);

const program = new Command("tacet")
  .description(
    "Private inference for privately fine-tuned language models: the open base model runs at the user, " +
      "the private LoRA adapter at its provider, and only ciphertext travels between them.",
  )
  .version(version, "-V, --version", "print the version")
  .helpOption("-h, --help", "print help")
  .helpCommand("help [command]", "print help for a command")
  .exitOverride()
  .configureOutput({
    outputError: () => {},
    writeErr: (text) => process.stdout.write(text),
    getOutHelpWidth: helpWidth,
    getErrHelpWidth: helpWidth,
  })
  .addHelpText(
    "after",
    `
Examples:
  tacet demo                                    see it work, on this machine
  tacet bundle --base B --adapter A --out S     prepare an adapter for serving
  tacet keys create --data D --budget 1000      let somebody in
  tacet provider --state S --data D             serve it
  tacet generate --base B --provider ws://H:8787 "a question"
  tacet chat --base B --provider ws://H:8787    talk to it
  tacet serve --base B --provider ws://H:8787   let other programs talk to it`,
  );

for (const register of [
  registerDemo,
  registerBundle,
  registerProvider,
  registerKeys,
  registerGenerate,
  registerChat,
  registerServe,
  registerLogits,
  registerInspect,
  registerAudit,
  registerTrace,
  registerWeb,
]) {
  register(program, interruption.signal);
}

/** The command whose action runs. */
let running: Command | undefined;
program.hook("preAction", (_, command) => {
  running = command;
});

process.exit(await main());

async function main(): Promise<number> {
  let code = 0;
  try {
    await program.parseAsync();
    code = Number(process.exitCode ?? 0);
  } catch (error) {
    const interrupted = error instanceof TacetError && error.code === "aborted";
    code = interrupted ? (interruption.exitCode ?? 130) : reportFailure(error, helpCommand());
    // Who reads JSON reads stdout; a command that had something to show has put the failure beside it.
    if (!interrupted && running?.opts().json === true && !hasPrintedJson())
      printJson({ error: describeFailure(error) });
  }
  // Pipes may still hold what was printed.
  await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  return code;
}

/** "tacet generate", "tacet keys create" where that is what was called. */
function helpCommand(): string {
  const names = ["tacet"];
  let command: Command | undefined = program;
  for (const name of process.argv.slice(2, 4)) {
    command = command?.commands.find((each) => each.name() === name);
    if (command === undefined) break;
    names.push(name);
  }
  return names.join(" ");
}
