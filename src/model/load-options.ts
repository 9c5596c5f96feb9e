/** What a base model is loaded with. */

import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import type { FileCache } from "../base/platform.ts";
import type { LoraAdapter } from "../weights/lora-adapter.ts";
import type { DeltaSource } from "./delta-source.ts";
import type { PrepareProgress } from "./weights/quantized-weights.ts";
import type { WeightFormat } from "./weights/weight-source.ts";

/** Who adds to a base model's linear layers: somebody who is asked, an adapter that is here, or nobody. */
export interface DeltaUse {
  /** The model is cut into segments at its groups. */
  readonly deltas?: DeltaSource | undefined;
  /** Applied inside the graph, without a cut. */
  readonly adapter?: LoraAdapter | undefined;
  /**
   * Ask adapted layers that follow each other together (default): one round trip instead of two for each token. It
   * costs a few queries once for each source, at the first decode step (run/look-ahead.ts).
   */
  readonly lookAhead?: boolean | undefined;
  /** Decode steps before those queries are asked: short answers then do without. Default: 0. */
  readonly lookAheadAfter?: number | undefined;
  /** What the base model drafts with (`CausalLm.draft`): something public, of LoRA matrices alone. Default: nothing. */
  readonly draftAdapter?: LoraAdapter | undefined;
}

/** How a base model is held in memory. */
export interface BaseOptions {
  /** Threads that one operator may use. Default: 1 for small models, else what the runtime thinks best. */
  readonly threads?: number | undefined;
  /**
   * How many passes are expected at the same time (conversations). With more than one, a model that is cut is cut beside
   * attention too, and products with the same weights are made for several passes at once, on the processor. That costs
   * a pass by itself some runs of a session more. Default: 1.
   */
  readonly parallel?: number | undefined;
  /**
   * Most tokens of a context. Default: what the model was trained for, at least 2048 and at most 8192; never more
   * than it has positions, nor than all tokens are turned alike for (longrope).
   */
  readonly contextLength?: number | undefined;
  /**
   * Most tokens that are read at a time; a longer prompt takes several passes, so that activations and attention scores
   * do not grow with it. Default: 512, fewer for very long contexts.
   */
  readonly passTokens?: number | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
  /** How the weights are held. Default: as in the checkpoint. The others need a weightCache. */
  readonly weights?: WeightFormat | undefined;
  /** Where quantized weights are kept from one load to the next. */
  readonly weightCache?: FileCache | undefined;
  /** Quantized weights are being made, or the ones that were kept are being checked. */
  readonly onPrepare?: ((progress: PrepareProgress) => void) | undefined;
  /** Something the user should know, and that has been repaired. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadOptions extends BaseOptions, DeltaUse {}

const BASE: OptionTypes<BaseOptions> = {
  threads: "number",
  parallel: "number",
  contextLength: "number",
  passTokens: "number",
  onProgress: "function",
  weights: "string",
  weightCache: "object",
  onPrepare: "function",
  onWarning: "function",
  signal: "object",
};
const USE: OptionTypes<DeltaUse> = {
  deltas: "object",
  adapter: "object",
  lookAhead: "boolean",
  lookAheadAfter: "number",
  draftAdapter: "object",
};
const LOAD: OptionTypes<LoadOptions> = { ...BASE, ...USE };

const RENAMED = { onLoadProgress: "onProgress" };

/** @throws TacetError bad_argument for options that do not exist, or of another type */
export function checkLoadOptions(options: LoadOptions): void {
  checkOptions(options, LOAD, { of: "CausalLm.load", known: RENAMED });
}

/** @throws TacetError bad_argument for options that do not exist, or of another type */
export function checkSharedOptions(uses: readonly DeltaUse[], options: BaseOptions): void {
  checkOptions(options, BASE, { of: "CausalLm.loadShared", known: RENAMED });
  for (const use of uses) checkOptions(use, USE, { of: "a use of CausalLm.loadShared" });
}
