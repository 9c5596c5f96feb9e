/** What a forward pass of a checkpoint uses: the pass is written, and nothing is loaded. */

import { NO_CHANGES } from "../weights/base-changes.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { ChangesInUse } from "./graph/changes-in-use.ts";
import { SegmentBuilder, type SegmentPlan } from "./graph/segment-builder.ts";
import { writeSegments } from "./graph/write-decoder.ts";
import { memoryNeed } from "./memory-need.ts";
import { type WeightDemand, weightDemand } from "./weights/weight-demand.ts";
import { originalWeights, type WeightFormat, type WeightSource } from "./weights/weight-source.ts";

/** Nothing is adapted. */
const UNCUT: SegmentPlan = {
  groupAt: new Map(),
  pairable: new Set(),
  loras: new Set(),
  changes: new ChangesInUse(NO_CHANGES),
};

/** @throws TacetError unsupported_model, bad_checkpoint */
export function passDemand(checkpoint: Checkpoint, format: WeightFormat): WeightDemand {
  const decoder = describeDecoder(checkpoint);
  const write = (source: WeightSource) => writeSegments(new SegmentBuilder(source, UNCUT), decoder, 1);
  // What is stored in another way than a runtime reads is decoded into the copy.
  const mustCopy = checkpoint.storedAs !== undefined;
  return weightDemand(originalWeights(checkpoint), format, write, mustCopy);
}

/**
 * Bytes of memory that the weights take when they are loaded (memory-need.ts).
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function weightMemory(checkpoint: Checkpoint, format: WeightFormat): number {
  return memoryNeed(passDemand(checkpoint, format), format, { layers: [], maxTokens: 0 }).weights;
}
