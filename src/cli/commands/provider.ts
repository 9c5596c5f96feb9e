import type { Command } from "commander";
import { collect, integerIn, oneOf } from "../arguments.ts";
import type { ProviderOptions } from "../run-provider.ts";

export function registerProvider(program: Command, signal: AbortSignal): void {
  program
    .command("provider")
    .description("serve adapters; needs no base model and no GPU, and sees ciphertext only")
    .requiredOption("--state <dir>", "folder that 'tacet bundle' wrote; repeat for more adapters", collect)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0: any free one", integerIn("--port", 0, 65_535), 8787)
    .option("--data <dir>", "keys and counts: 'tacet keys create --data DIR' lets clients in")
    .option(
      "--durability <d>",
      "process: charges survive this process; power: also a loss of power (default: process)",
      oneOf("--durability", ["process", "power"]),
    )
    .option("--unmetered", "without --data: nobody's queries are counted, and that is meant")
    .option("--token-file <file>", "without --data: tokens that are let in, one a line")
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
Vectors that clients ask are counted in --data, and refused where a key's
budget ends. Without --data everybody, or everybody with a token, may ask
without limit and so learn the adapted function; on other than loopback
addresses that needs --unmetered.

Prints "listening on URL" to stdout, then one JSON line per event to stderr:
connections, refusals, vectors asked; never data. SIGTERM or Ctrl-C stops it:
clients are told, and may go on with another replica.

Examples:
  tacet provider --state ./law-state
  tacet keys create --data ./data --budget 5000/day
  tacet provider --state ./law-state --data ./data --host 0.0.0.0`,
    )
    .action(async (options: ProviderOptions) => {
      const { runProvider } = await import("../run-provider.ts");
      await runProvider(options, signal);
    });
}
