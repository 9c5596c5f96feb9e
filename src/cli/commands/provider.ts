import type { Command } from "commander";
import { collect, integerIn } from "../arguments.ts";
import type { ProviderOptions } from "../run-provider.ts";

export function registerProvider(program: Command, signal: AbortSignal): void {
  program
    .command("provider")
    .description("serve adapters; needs no base model and no GPU, and sees ciphertext only")
    .requiredOption("--state <dir>", "folder that 'tacet bundle' wrote; repeat for more adapters", collect)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0: any free one", integerIn("--port", 0, 65_535), 8787)
    .option("--token-file <file>", "tokens that are let in, one a line (default: everybody)")
    .option(
      "--poll-micros <n>",
      "longest time awake for the next message, in microseconds (default: 2000)",
      integerIn("--poll-micros", 0, 1_000_000),
    )
    .option("--max-vectors <n>", "most vectors in a query", integerIn("--max-vectors", 1, 1 << 20))
    .option(
      "--max-message-bytes <n>",
      "largest message that is read",
      integerIn("--max-message-bytes", 1 << 16, 64 << 20),
    )
    .addHelpText(
      "after",
      `
Prints "listening on URL" to stdout, then one JSON line per event to stderr:
connections, refusals, vectors asked; never data. SIGTERM or Ctrl-C stops it:
clients are told, and may go on with another replica.

Examples:
  tacet provider --state ./law-state
  tacet provider --state ./law-state --host 0.0.0.0 --token-file tokens.txt`,
    )
    .action(async (options: ProviderOptions) => {
      const { runProvider } = await import("../run-provider.ts");
      await runProvider(options, signal);
    });
}
