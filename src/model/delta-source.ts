/**
 * Where a model lets someone else add to its linear layers.
 *
 * An adapted linear module computes y = W·x + b + delta. The base model knows W and b; delta comes from a
 * {@link DeltaSource}: a LoRA in this process (the plaintext reference) or a provider across the network. An adapted
 * embedding is one with W = E transposed and the one-hot of a token as x: h = E[id] + delta.
 */

import type { BaseChanges } from "../weights/base-changes.ts";

/** The modules that share one input x (q, k, v; gate, up), asked for together. */
export interface AdaptedGroup {
  /** Decoder layer, 0-based; of the embedding the first one, of the head the last one. */
  readonly layer: number;
  /** Full module names without ".weight", in the order in which deltas are given. */
  readonly modules: readonly string[];
  /** Length of x. */
  readonly inFeatures: number;
  /** "ids": the module is an embedding; x is the one-hot of a token, of which `beginIds` is given the place. */
  /**
   * "routed": the modules are experts; x has a row for each token, or for each route, and the deltas are those of routes
   * (`beginRouted`). All modules have as many outputs.
   */
  readonly input?: "ids" | "routed";
  /** Rows of x for each token: more than one where there is one for each route. Default: 1. */
  readonly rowsPerToken?: number;
  /** Length of each module's output, in the order of `modules`. */
  readonly outFeatures: readonly number[];
}

/** An answer that is on its way. */
export interface PendingDelta {
  /**
   * One array (tokens, outFeatures[i]) row-major for each module of the group.
   *
   * @param targets memory of these shapes, to be filled and returned; by default new arrays are made
   */
  wait(targets?: readonly Float32Array[]): Promise<readonly Float32Array[]>;
  /**
   * Resolves when it has been asked, or could not be. Until then a thread that computes would hold that up; undefined: it
   * has been.
   */
  readonly asked?: Promise<void> | undefined;
  /** Nobody waits for it any more: what has not been asked yet need not be. */
  drop?(): void;
}

/** What asking costs beside computing, as measured lately. */
export interface Line {
  /** Milliseconds from asking for one vector to its answer. */
  readonly roundTripMs: number;
  /** Milliseconds that one vector more takes. */
  readonly vectorMs: number;
}

export interface DeltaSource {
  /** In the order in which a forward pass asks for them. */
  readonly groups: readonly AdaptedGroup[];
  /** Of a source that is asked over a network. Read again for each pass. */
  readonly line?: Line | undefined;
  /** Absent where deltas have no fewer dimensions than outputs, or nobody may know which. */
  readonly lowRank?: LowRankSource | undefined;
  /** What it changes of the base model besides, for whoever runs it to apply. */
  readonly changes?: BaseChanges | undefined;
  /** Tokens that may still be asked for, as far as is known; undefined: any number. */
  readonly vectorsLeft?: number | undefined;
  /** Of an activated LoRA: it is asked from the last place in a prompt on that has these ids (model/invocation.ts). */
  readonly invocationTokens?: readonly number[] | undefined;
  /**
   * Starts computing the deltas of group `group` for x (tokens, inFeatures) row-major. Must not block: the
   * runner computes W·x meanwhile. x belongs to the caller and may be overwritten once wait() has resolved.
   */
  begin(group: number, x: Float32Array, tokens: number): PendingDelta;
  /** As {@link begin} for a group whose input is ids: one token each. Present where there is such a group. */
  beginIds?(group: number, ids: readonly number[]): PendingDelta;
  /**
   * As {@link begin} for a group of experts: all of x is asked for as one, whoever the routes lead to, and the deltas are
   * one array (routes, outFeatures[0]). Present where there is such a group.
   *
   * @param x (rows, inFeatures) row-major
   */
  beginRouted?(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta;
  /** Whether anybody is asked for a group's deltas. Default: for all groups somebody is. */
  asks?(group: number): boolean;
}

/** Which row of x goes to which expert: entry i is route i. */
export interface RoutesTaken {
  readonly rows: ArrayLike<number>;
  readonly experts: ArrayLike<number>;
}

/** What a group is asked for. */
export interface GroupInput {
  readonly group: number;
  /** (tokens, inFeatures) row-major */
  readonly x: Float32Array;
}

/** Deltas that are combinations of a few known directions: delta = Σ_k y_k·b_k, k < rank. */
export interface LowRankSource {
  /** How many directions a group has that {@link basisOf} can be asked for. */
  rankOf(group: number): number;
  /** b_1, b_2, … of a group with one module, (rank, outFeatures) row-major. */
  basisOf(group: number): Float32Array;
  /**
   * Makes a pair of two groups (run/look-ahead.ts): what the first one's coefficients y_k add to the second one's
   * deltas is Σ_k y_k·effects_k.
   *
   * @param effects (rank of `first`, outFeatures[i]) row-major for each module of `second`
   */
  setEffects(first: number, second: number, effects: readonly Float32Array[]): void;
  /** Whether `setEffects` has been called for a pair that ends with this group. */
  hasEffects(second: number): boolean;
  /**
   * Starts both groups of a pair together, as {@link DeltaSource.begin} does for one. The second one's deltas have the
   * effects of the first one's in them. Both are waited for.
   *
   * @throws RangeError unless the two are a pair
   */
  beginPair(first: GroupInput, second: GroupInput, tokens: number): readonly [PendingDelta, PendingDelta];
}
