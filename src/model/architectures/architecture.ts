/** What a family of decoders has to say about itself. */

import type { DecoderConfig } from "./decoder-config.ts";
import type { RawConfig } from "./config-fields.ts";
import type { CacheShape, PassInputs } from "../graph/pass-values.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import type { Value } from "../graph/onnx-graph.ts";
import type { SegmentBuilder } from "../graph/segment-builder.ts";

/** `Config` is what this family reads from config.json. */
export interface Architecture<Config extends DecoderConfig = DecoderConfig> {
  /** As config.json's `architectures` has it. */
  readonly name: string;
  /** As config.json's `model_type` has it: what counts in files without `architectures`. */
  readonly modelType: string;
  parseConfig(raw: RawConfig): Config;
  cacheShape(config: Config): Omit<CacheShape, "maxTokens">;
  /** All linear modules in forward order: the embedding, those of the decoder layers, the head. */
  linearPlaces(config: Config): readonly LinearPlace[];
  /** Writes the forward pass from the given tensors to the logits of the rows asked for, (1, rows, vocab). */
  write(builder: SegmentBuilder, config: Config, places: readonly LinearPlace[], given: PassInputs): Value;
}
