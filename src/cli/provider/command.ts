import type { Command } from "commander";
import { settingOptions } from "./flags.ts";
import type { ProviderSettings } from "./settings.ts";

export function registerProvider(program: Command, signal: AbortSignal): void {
  const command = program
    .command("provider")
    .description("serve adapters; needs no base model and no GPU, and sees ciphertext only")
    .option("--config <file>", "JSON file with these settings as fields; flags go before it");
  for (const option of settingOptions()) command.addOption(option);
  command
    .addHelpText(
      "after",
      `
Vectors that clients ask are counted in --data, and refused where a key's
budget ends. Without --data everybody, or everybody with a token, may ask
without limit and so learn the adapted function; on other than loopback
addresses that needs --unmetered.

Several providers behind a load balancer share keys, counts and rates in a
Redis server: --redis redis://HOST:6379, or rediss:// for TLS; URL and password
may be in TACET_REDIS_URL and TACET_REDIS_PASSWORD. While it is away, queries
are refused.

Prints "listening on URL" to stdout, then one JSON line per event to stderr:
connections, refusals, vectors asked; never data. SIGTERM or Ctrl-C stops it:
open queries are answered, clients are told, and may go on with another
replica; asked twice it stops at once. docs/provider.md has more.

Examples:
  tacet provider --state ./law-state
  tacet keys create --data ./data --state ./law-state --budget 1000
  tacet provider --state ./law-state --data ./data --host 0.0.0.0
  tacet provider --config provider.json --metrics-port 9464`,
    )
    .action(async ({ config, ...flags }: Partial<ProviderSettings> & { readonly config?: string }) => {
      const { runProvider } = await import("./run.ts");
      await runProvider(flags, config, signal);
    });
}
