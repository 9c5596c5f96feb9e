import type { Command } from "commander";
import { collect, integerIn } from "../shared/arguments.ts";
import { deviceOption } from "../shared/source-options.ts";
import type { AuditOptions } from "./run.ts";

export function registerAudit(program: Command, signal: AbortSignal): void {
  program
    .command("audit")
    .description("attack an adapter's provider through the public client, and print what an attacker gets")
    .option("--adapter <dir>", "LoRA adapter in the PEFT layout (default: the embedded law adapter)")
    .option(
      "--base <dir>",
      "its base model: a Hugging Face folder or a GGUF file (default: the embedded lexicon)",
    )
    .option("--seeded <n>", "an adapter of this width, made from a seed", integerIn("--seeded", 16, 1 << 14))
    .option("--group <i>", "attack this group of the bundle; repeat for more (default: one a width)", collect)
    .option(
      "--queries <n>",
      "most vectors an attack asks (default: 1.25 n)",
      integerIn("--queries", 8, 1 << 20),
    )
    .option("--attacks <list>", "only these, comma-separated")
    .addOption(deviceOption())
    .option("--text <file>", "text that ordinary prompts are made of")
    .option("--json <file>", "write the report as JSON; -: to stdout, instead of the table")
    .option("--plot <file>", "write the curves, error against queries, as SVG")
    .addHelpText(
      "after",
      `
Makes a bundle, starts a provider in a separate process on this machine and asks it
what a thief would ask, then compares with the adapter. docs/audit.md explains each row.

Examples:
  tacet audit
  tacet audit --base ./model --adapter ./law --json audit.json --plot audit.svg
  tacet audit --seeded 896 --attacks unit,packed`,
    )
    .action(async (options: AuditOptions) => {
      const { runAudit } = await import("./run.ts");
      await runAudit(options, signal);
    });
}
