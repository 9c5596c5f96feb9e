/** What a family of decoders has to say about itself. */

import { TacetError } from "../../base/errors.ts";
import type { DecoderConfig } from "./decoder-config.ts";
import { demand, type RawConfig } from "./config-fields.ts";
import type { CacheShape } from "../kv-cache.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import type { SegmentBuilder, Value } from "../graph/segment-builder.ts";
import { chatGlm } from "./chatglm.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";

/** `Config` is what this family reads from config.json. */
export interface Architecture<Config extends DecoderConfig = DecoderConfig> {
  /** As config.json's `architectures` has it. */
  readonly name: string;
  /** As config.json's `model_type` has it: what counts in files without `architectures`. */
  readonly modelType: string;
  parseConfig(raw: RawConfig): Config;
  cacheShape(config: Config): Omit<CacheShape, "maxTokens">;
  /** All linear modules of the decoder layers, in forward order. */
  linearPlaces(config: Config): readonly LinearPlace[];
  /** Writes the forward pass from the given tensors to the logits of the rows asked for, (1, rows, vocab). */
  write(builder: SegmentBuilder, config: Config, places: readonly LinearPlace[], given: Given): Value;
}

/** What the caller of each run gives. T tokens are read. */
export interface Given {
  /** (1, T) int64 */
  readonly ids: Value;
  /** (1) int32: tokens in the cache. */
  readonly past: Value;
  /** (1) int32: past + T. */
  readonly total: Value;
  /** (1) int64: logits are made for the rows from this one on; -1 is the last row only. */
  readonly firstRow: Value;
  /** Positions that the rotary tables must cover. */
  readonly maxPositions: number;
}

const ARCHITECTURES: readonly Architecture[] = [llama, mistral, qwen2, qwen3, ...chatGlm, gpt2];

/** @throws TacetError unsupported_model for a family that is not known, or a model_type that is not the family's */
export function architectureOf(raw: RawConfig): Architecture {
  const named = Array.isArray(raw.architectures) ? raw.architectures[0] : undefined;
  const found = ARCHITECTURES.find(({ name, modelType }) =>
    named === undefined ? raw.model_type === modelType : named === name,
  );
  // transformers goes by the one, other programs by the other.
  if (found) demand(raw, "model_type", [found.modelType]);
  if (found) return found;
  const field = named === undefined ? "model_type" : "architectures";
  const value = (JSON.stringify(named ?? raw.model_type) ?? "missing").slice(0, 80);
  throw new TacetError("unsupported_model", `config.json: ${field} = ${value} is not supported`, {
    hint: `supported: ${ARCHITECTURES.map(({ name }) => name).join(", ")}`,
  });
}
