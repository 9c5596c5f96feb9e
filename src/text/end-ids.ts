/** Ids that end an answer, where no tokenizer is needed to know them. */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord } from "../weights/json-file.ts";

/** `eos_token_id` of a configuration: one id, a list, or nothing. */
export function eosIdsIn(config: unknown): readonly number[] {
  const value = isRecord(config) ? config.eos_token_id : undefined;
  return (Array.isArray(value) ? value : [value]).filter((id) => Number.isInteger(id) && id >= 0);
}

/** Those of the base model: of generation_config.json, else of config.json; empty if neither says. */
export async function baseEosIds(checkpoint: Checkpoint): Promise<readonly number[]> {
  const { config } = checkpoint;
  // A model that also sees or hears says it for itself, or for its language model.
  for (const source of [await checkpoint.json("generation_config.json"), config, config.text_config]) {
    const ids = eosIdsIn(source);
    if (ids.length > 0) return ids;
  }
  return [];
}

/** Those and the ones that the adapter on it has besides. */
export async function loadEosIds(checkpoint: Checkpoint): Promise<readonly number[]> {
  return withAdapterEnds(await baseEosIds(checkpoint), checkpoint);
}

export function withAdapterEnds(ids: readonly number[], { adapterText }: Checkpoint): readonly number[] {
  return [...new Set([...ids, ...(adapterText?.endIds ?? [])])];
}
