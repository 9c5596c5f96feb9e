/** The options of commands that run a model; source.ts turns them into one. */
import { type Command, Option } from "commander";
import { DEVICES } from "../../base/device.ts";
import { collect, hex32, integerIn, tokenIds } from "./arguments.ts";

/** @param plaintext whether an adapter may be applied here, without a provider */
export function addSourceOptions(
  command: Command,
  plaintext: "with-adapter" | "without-adapter" = "with-adapter",
): Command {
  command
    .option(
      "--base <dir>",
      "base model: a Hugging Face folder, a GGUF file or a hub id (default: the embedded lexicon)",
    )
    .option("--provider <url>", "ask this provider, ws:// or wss://; repeat for its replicas", collect);
  if (plaintext === "with-adapter") {
    command.option("--adapter <dir>", "apply this adapter here, in plaintext (PEFT folder or hub id)");
  }
  return command
    .option("--adapter-name <name>", "which of the provider's adapters (default: its first)")
    .option("--token-file <file>", "bearer token for the provider (default: TACET_TOKEN)")
    .option("--bundle-digest <hex>", "refuse a bundle with another SHA-256", hex32("--bundle-digest"))
    .option("--provider-key <hex>", "refuse a bundle that this key has not signed", hex32("--provider-key"))
    .option("--allow-invocation", "let an activated adapter's provider learn where in a prompt it is invoked")
    .option(
      "--reconnect-seconds <n>",
      "how long to wait for a lost provider (default: 10)",
      integerIn("--reconnect-seconds", 0, 86_400),
    )
    .option(
      "--poll-micros <n>",
      "longest time to stay awake for an answer of the provider, in microseconds; 0: never (default: 2000)",
      integerIn("--poll-micros", 0, 1_000_000),
    )
    .addOption(deviceOption())
    .option("--threads <n>", "threads for one operator of the base model", integerIn("--threads", 1, 1024))
    .addOption(
      new Option(
        "--weights <kind>",
        "how the base model is held in memory; int8 and int4 are made once and kept (default: original)",
      ).choices(["original", "int8", "int4"]),
    )
    .option("--weights-cache <dir>", "where int8 and int4 weights are kept (default: ~/.cache/tacet/weights)")
    .option(
      "--context-length <n>",
      "most tokens of prompt and answer (default: the model's, at most 8192)",
      integerIn("--context-length", 1, 1 << 24),
    )
    .option("--no-cache", "do not keep the bundle and keys on disk for the next time")
    .option("--no-key-cache", "do not keep keys on disk; without a token none are");
}

export function deviceOption(): Option {
  return new Option(
    "--device <name>",
    "where the base model runs; a device that this machine lacks is an error (default: cpu)",
  ).choices(DEVICES);
}

export function addPromptOptions(command: Command): Command {
  return command
    .argument("[prompt...]", "the prompt; without it and --ids, stdin is read")
    .option("--ids <list>", "token ids instead of text, as they are: 1,2227,318", tokenIds("--ids"))
    .option("--raw", "text as it is, without the model's chat template")
    .option("--system <text>", "system message for the chat template");
}
