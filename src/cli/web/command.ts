import { type Command, Option } from "commander";
import { collect, hex32, integerIn } from "../shared/arguments.ts";
import { addDraftOptions } from "../shared/draft-options.ts";
import type { WebOptions } from "./run.ts";

export function registerWeb(program: Command, signal: AbortSignal): void {
  const command = program
    .command("web")
    .description("chat in your browser: model and encryption run in the page");
  addDraftOptions(command)
    .option(
      "--base <dir>",
      "base model: a Hugging Face folder or a GGUF file (default: the embedded lexicon)",
    )
    .option("--provider <url>", "ask this provider; repeat for its replicas", collect)
    .option("--adapter-name <name>", "which of the provider's adapters (default: its first)")
    .option("--bundle-digest <hex>", "refuse a bundle with another SHA-256", hex32("--bundle-digest"))
    .option("--provider-key <hex>", "refuse a bundle that this key has not signed", hex32("--provider-key"))
    .option("--allow-invocation", "let an activated adapter's provider learn where in a prompt it is invoked")
    .addOption(
      new Option(
        "--device <name>",
        "where the page runs the model (default: a GPU that WebGPU can use, else the processor)",
      ).choices(["cpu", "webgpu"]),
    )
    .addOption(
      new Option(
        "--weights <kind>",
        "how the page holds the model; int8 and int4 are made in the page, once (default: original)",
      ).choices(["original", "int8", "int4"]),
    )
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0: any free one", integerIn("--port", 0, 65_535), 8788)
    .addHelpText(
      "after",
      `
Without --provider one is started here, with the embedded law adapter. Prints
"open URL"; Ctrl-C stops it. The page talks to this program and the provider
only; if the provider asks for a key, the page asks you for it.

Examples:
  tacet web
  tacet web --base ./model --provider wss://provider.example`,
    )
    .action(async (options: WebOptions) => {
      const { runWeb } = await import("./run.ts");
      await runWeb(options, signal);
    });
}
