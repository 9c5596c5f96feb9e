import type { Command } from "commander";
import { collect, decimalIn } from "../shared/arguments.ts";
import type { StoreOptions } from "./key-book.ts";
import type { CreateKeyOptions, ListKeysOptions } from "./run.ts";

export function registerKeys(program: Command): void {
  const keys = program
    .command("keys")
    .description("create, list and revoke the API keys of a provider's --data folder or --redis database");
  keys
    .command("create")
    .description("make a key and print it, once; only its hash is stored")
    .option("--data <dir>", "the provider's data folder; made where there is none")
    .option("--redis <url>", "the Redis server of its replicas (default: TACET_REDIS_URL)")
    .option("--redis-prefix <text>", "begins all keys in the database (default: tacet:)")
    .option(
      "--budget <b>",
      "required: vectors that may be asked of each group: 150, 20/day (or hour, minute, week), or unlimited",
    )
    .option("--state <dir>", "say how much of this adapter that is; repeat for more", collect)
    .option("--adapter <name>", "an adapter it may ask; repeat for more (default: all)", collect)
    .option("--account <name>", "whose budget it spends; keys may share one (default: its own)")
    .option("--rate <n>", "vectors a second, on the average", decimalIn("--rate", 0.001, 1e9))
    .option("--expires <when>", "when it ends: 30d, 12h, or a date such as 2027-01-31")
    .option("--label <text>", "a note for 'tacet keys list'")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
The key goes to stdout, what there is to say about it to stderr. Vectors are
counted for each adapted group: a token, prompt or answer, is one of each.
Every value of a linear function tells something about it: with enough vectors
any client learns the adapter's function. After how many, and how much of that
the budget gives, is said for each --state, or else for the adapters that a
provider has served from --data. A budget that comes back every day gives all
away in time, unless --expires ends the key before.

Examples:
  tacet keys create --data ./data --state ./law-state --budget 150
  tacet keys create --data ./data --budget 20/day --expires 7d --label "Ada's laptop"
  tacet keys create --data ./data --budget 1000 --account ada --expires 90d`,
    )
    .action(async (options: CreateKeyOptions) => {
      const { createKey } = await import("./run.ts");
      await createKey(options);
    });
  keys
    .command("list")
    .description("keys with their budgets and what was asked of the busiest group")
    .option("--data <dir>", "the provider's data folder")
    .option("--redis <url>", "the Redis server of its replicas (default: TACET_REDIS_URL)")
    .option("--redis-prefix <text>", "begins all keys in the database (default: tacet:)")
    .option("--json", "one JSON object")
    .action(async (options: ListKeysOptions) => {
      const { listKeys } = await import("./run.ts");
      await listKeys(options);
    });
  keys
    .command("revoke")
    .description("end a key; a running provider closes its connections within a second")
    .argument("<id>", "as 'tacet keys list' shows it")
    .option("--data <dir>", "the provider's data folder")
    .option("--redis <url>", "the Redis server of its replicas (default: TACET_REDIS_URL)")
    .option("--redis-prefix <text>", "begins all keys in the database (default: tacet:)")
    .action(async (id: string, options: StoreOptions) => {
      const { revokeKey } = await import("./run.ts");
      await revokeKey(id, options);
    });
}
