import { type Command, Option } from "commander";
import { collect, collectIds, integerIn } from "../shared/arguments.ts";
import { addDraftOptions } from "../shared/draft-options.ts";
import { addSourceOptions } from "../shared/source-options.ts";
import { addTemplateOption } from "../shared/template-options.ts";
import { collectAdapters } from "./local-specs.ts";
import { ENDPOINT_LOG_LEVELS } from "./log-level.ts";
import { collectModels } from "./model-specs.ts";
import type { ServeFlags } from "./run.ts";

export function registerServe(program: Command, signal: AbortSignal): void {
  const command = program
    .command("serve")
    .description("an OpenAI-compatible endpoint on this machine, for other programs");
  addTemplateOption(addDraftOptions(addSourceOptions(command, "without-adapter")))
    .option(
      "--model <spec>",
      "serve an adapter under a name: NAME=URL#ADAPTER or JSON; repeat for more, instead of --provider",
      collectModels,
    )
    .option(
      "--adapter <spec>",
      "serve an adapter that you have here, in plaintext: DIR or NAME=DIR, a PEFT folder or hub id; repeat for more",
      collectAdapters,
    )
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0: any free one", integerIn("--port", 0, 65_535), 8789)
    .option("--api-key-file <file>", "programs must send a key of this file, one a line")
    .option("--cors-origin <origin>", "let pages of this origin ask; may be repeated", collect)
    .option("--serve-base", "also offer the base model alone, as the model 'base'")
    .option("--parallel <n>", "answers given at the same time", integerIn("--parallel", 1, 256), 8)
    .option("--queue <n>", "requests that may wait beyond these", integerIn("--queue", 0, 65_536), 32)
    .option("--contexts <n>", "conversations kept in memory to go on", integerIn("--contexts", 0, 256), 8)
    .option(
      "--stop-id <id>",
      "end every answer at this token id too; may be repeated",
      collectIds("--stop-id"),
    )
    .addOption(
      new Option("--log-level <level>", "least severe line of the log on stderr; requests are info")
        .choices([...ENDPOINT_LOG_LEVELS])
        .default("info"),
    )
    .addHelpText(
      "after",
      `
The model has the adapter's name: what is asked of it is asked privately. With
--model several adapters on one base model are served at once, each under its
name, from one or several providers; the base is in memory once. Adapters that
you have here (--adapter) are served beside them: nobody is asked for these.
Without --base, --provider and --adapter a provider is started here, with the
embedded law adapter. Prints "listening on URL"; Ctrl-C stops it, after what is
being answered. docs/openai.md says what is supported, with examples.

Examples:
  tacet serve
  tacet serve --base ./model --provider wss://provider.example
  tacet serve --base ./model --model law=wss://provider.example#law-v2 \\
    --model tax=wss://other.example
  tacet serve --base ./model --adapter ./style --adapter drafts=./other-adapter
  curl 127.0.0.1:8789/v1/chat/completions -H content-type:application/json \\
    -d '{"model":"law","messages":[{"role":"user","content":"tender"}]}'`,
    )
    .action(async (options: ServeFlags) => {
      const { runServe } = await import("./run.ts");
      await runServe(options, signal);
    });
}
