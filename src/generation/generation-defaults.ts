/** What a checkpoint's author wants where a user says nothing: generation_config.json. */

import { TacetError } from "../base/errors.ts";
import { loadEosIds } from "../text/end-ids.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import type { SamplingOptions } from "./generate.ts";

export interface GenerationDefaults {
  /** A user's wishes are spread over it. Temperature 0 unless the file says `do_sample`. */
  readonly sampling: SamplingOptions;
  /** Ids that end an answer; empty: neither generation_config.json nor config.json says. */
  readonly eosIds: readonly number[];
  readonly maxNewTokens?: number | undefined;
  /** Prompt and answer together. */
  readonly maxLength?: number | undefined;
}

const FILE = "generation_config.json";

interface Field {
  readonly field: string;
  readonly name: keyof SamplingOptions;
  fits(value: number): boolean;
  read?(value: number): number;
}

/** Field in the file → our name, and the range that {@link SamplingOptions} allows. */
const FIELDS: readonly Field[] = [
  { field: "temperature", name: "temperature", fits: (x: number) => x >= 0 },
  { field: "top_p", name: "topP", fits: (x: number) => x > 0 && x <= 1 },
  // -1 is what vLLM writes for none.
  {
    field: "top_k",
    name: "topK",
    fits: (x: number) => Number.isInteger(x) && x >= -1,
    read: (x: number) => Math.max(x, 0),
  },
  { field: "min_p", name: "minP", fits: (x: number) => x >= 0 && x <= 1 },
  { field: "repetition_penalty", name: "repetitionPenalty", fits: (x: number) => x > 0 },
];

/**
 * Empty where there is no such file. Fields that are missing or null are left out: nothing is taken from the
 * defaults of another library, but for a temperature of 1 where the file says `do_sample` and no temperature.
 *
 * @throws TacetError bad_checkpoint for a value out of range, by its field
 */
export async function readGenerationDefaults(checkpoint: Checkpoint): Promise<GenerationDefaults> {
  const value = await checkpoint.json(FILE);
  const file = value === undefined ? {} : value;
  if (!isRecord(file)) throw new TacetError("bad_checkpoint", `${FILE} does not hold a JSON object`);
  const given: Record<string, number> = {};
  for (const { field, name, fits, read } of FIELDS) {
    const number = numberOf(file, field, fits);
    if (number !== undefined) given[name] = read?.(number) ?? number;
  }
  const temperature = file.do_sample === true ? (given.temperature ?? 1) : 0;
  const isCount = (x: number) => Number.isInteger(x) && x > 0;
  const maxNewTokens = numberOf(file, "max_new_tokens", isCount);
  const maxLength = numberOf(file, "max_length", isCount);
  return {
    sampling: value === undefined ? {} : { ...given, temperature },
    eosIds: await loadEosIds(checkpoint),
    maxNewTokens,
    maxLength,
  };
}

function numberOf(file: JsonRecord, field: string, fits: (value: number) => boolean): number | undefined {
  const value = file[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isFinite(value) && fits(value)) return value;
  throw new TacetError("bad_checkpoint", `${FILE}: ${field} is out of range`, {
    hint: "correct the field, or take it out of the file",
  });
}
