/** What a forward pass of a checkpoint uses: the pass is written, and nothing is loaded. */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { UNCUT, writeSegments } from "./causal-lm.ts";
import { SegmentBuilder } from "./graph/segment-builder.ts";
import { memoryNeed } from "./memory-need.ts";
import { type WeightDemand, weightDemand } from "./weights/weight-demand.ts";
import { originalWeights, type WeightFormat } from "./weights/weight-source.ts";

/** @throws TacetError unsupported_model, bad_checkpoint */
export function passDemand(checkpoint: Checkpoint, format: WeightFormat): WeightDemand {
  const decoder = describeDecoder(checkpoint);
  return weightDemand(originalWeights(checkpoint), format, (source) =>
    writeSegments(new SegmentBuilder(source, UNCUT), decoder, 1),
  );
}

/**
 * Bytes of memory that the weights take when they are loaded (memory-need.ts).
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function weightMemory(checkpoint: Checkpoint, format: WeightFormat): number {
  return memoryNeed(passDemand(checkpoint, format), format, { layers: [], maxTokens: 0 }).weights;
}
