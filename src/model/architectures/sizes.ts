/** The sizes of a decoder, as most families' config.json has them. */

import type { DecoderConfig } from "../graph/decoder.ts";
import { bad, count, flag, MAX_LAYERS, type RawConfig } from "./config-fields.ts";

export interface Sizes extends DecoderConfig {
  /** Width of the MLP. */
  readonly mlpSize: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** The logits use the embedding; there is no separate head. */
  readonly tiedHead: boolean;
}

/** What a family's class in transformers fills in for fields that are left out. */
export interface SizeDefaults {
  readonly layers?: number;
  readonly heads?: number;
  /** Not given: as many as heads. */
  readonly kvHeads?: number;
  readonly hiddenSize: number;
  /** Not given: four times the hidden size. */
  readonly mlpSize?: number;
  readonly vocabSize: number;
  readonly trainedContext: number;
  /** Not given: hidden_size / num_attention_heads. */
  readonly headDim?: number;
  readonly tiedHead?: boolean;
}

/** Fields that older families call otherwise. */
export interface SizeFields {
  readonly layers?: string;
  readonly hiddenSize?: string;
  readonly heads?: string;
  readonly kvHeads?: string;
  readonly mlpSize?: string;
  readonly trainedContext?: string;
}

/** @throws TacetError bad_checkpoint for a field of the wrong kind, or sizes that do not fit each other */
export function readSizes(raw: RawConfig, defaults: SizeDefaults, fields: SizeFields = {}): Sizes {
  const layers = count(raw, fields.layers ?? "num_hidden_layers", defaults.layers ?? 32, MAX_LAYERS);
  const headsField = fields.heads ?? "num_attention_heads";
  const kvField = fields.kvHeads ?? "num_key_value_heads";
  const heads = count(raw, headsField, defaults.heads ?? 32);
  // null is a value by itself: as many as heads.
  const kvHeads = count(raw, kvField, raw[kvField] === null ? heads : (defaults.kvHeads ?? heads));
  if (heads % kvHeads !== 0) {
    throw bad(headsField, `${heads} is not a multiple of ${kvField}, ${kvHeads}`);
  }
  const hiddenSize = count(raw, fields.hiddenSize ?? "hidden_size", defaults.hiddenSize);
  return {
    layers,
    hiddenSize,
    mlpSize: count(raw, fields.mlpSize ?? "intermediate_size", defaults.mlpSize ?? 4 * hiddenSize),
    heads,
    kvHeads,
    headDim: headSize(raw, hiddenSize, heads, headsField, defaults.headDim),
    vocabSize: count(raw, "vocab_size", defaults.vocabSize),
    trainedContext: count(raw, fields.trainedContext ?? "max_position_embeddings", defaults.trainedContext),
    tiedHead: flag(raw, "tie_word_embeddings", defaults.tiedHead ?? false),
  };
}

function headSize(
  raw: RawConfig,
  hiddenSize: number,
  heads: number,
  headsField: string,
  fallback: number | undefined,
): number {
  // As with the kv heads, null is not the same as left out.
  const missing = raw.head_dim === null ? undefined : fallback;
  if (raw.head_dim === undefined || raw.head_dim === null) {
    if (missing !== undefined) return missing;
    if (hiddenSize % heads !== 0)
      throw bad(headsField, `${heads} does not divide the hidden size, ${hiddenSize}`);
    return hiddenSize / heads;
  }
  return count(raw, "head_dim");
}
