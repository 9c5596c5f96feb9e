/** The options that say how an answer is chosen and where it ends; the same for `generate` and `chat`. */
import type { Command } from "commander";
import type { SamplingOptions } from "../../generation/generate.ts";
import { collectIds, collectText, decimalIn, integerIn } from "./arguments.ts";

export interface SamplingFlags {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
  readonly stopId?: readonly number[];
  readonly maxNewTokens?: number;
}

/** @param usual what the longest answer is by default, for the help */
export function addSamplingOptions(command: Command, usual: string): Command {
  return command
    .option(
      "--max-new-tokens <n>",
      `longest answer, in tokens (default: ${usual})`,
      integerIn("--max-new-tokens", 1, 1 << 24),
    )
    .option(
      "--temperature <t>",
      "draw tokens instead of taking the likeliest",
      decimalIn("--temperature", 0, 100),
    )
    .option(
      "--top-p <p>",
      "draw from the likeliest that reach this probability",
      decimalIn("--top-p", "above 0", 1),
    )
    .option("--top-k <k>", "draw from this many", integerIn("--top-k", 0, 1 << 24))
    .option("--min-p <p>", "draw from those with this part of the likeliest's", decimalIn("--min-p", 0, 1))
    .option(
      "--repetition-penalty <r>",
      "above 1: less of what the context has already",
      decimalIn("--repetition-penalty", "above 0", 100),
    )
    .option(
      "--frequency-penalty <x>",
      "less of an answer's token for each time it came",
      decimalIn("--frequency-penalty", -2, 2),
    )
    .option(
      "--presence-penalty <x>",
      "less of every token that an answer has",
      decimalIn("--presence-penalty", -2, 2),
    )
    .option("--seed <n>", "the same draws for the same seed", integerIn("--seed", 0, Number.MAX_SAFE_INTEGER))
    .option(
      "--stop <text>",
      "end the answer before this text, or at this control token; may be repeated",
      collectText("--stop"),
    )
    .option(
      "--stop-id <id>",
      "end the answer at this token id too; may be repeated",
      collectIds("--stop-id"),
    );
}

const SAMPLING = [
  "temperature",
  "topP",
  "topK",
  "minP",
  "repetitionPenalty",
  "frequencyPenalty",
  "presencePenalty",
  "seed",
] as const;

/** What the user said, and nothing else: to be spread over a checkpoint's defaults. */
export function samplingOf(flags: SamplingFlags): SamplingOptions {
  return Object.fromEntries(
    SAMPLING.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]])),
  );
}
