/**
 * Where a model lets someone else add to its linear layers.
 *
 * An adapted linear module computes y = W·x + b + delta. The base model knows W and b; delta comes from a
 * {@link DeltaSource}: a LoRA in this process (the plaintext reference) or a provider across the network.
 */

/** The modules that share one input x (q, k, v; gate, up), asked for together. */
export interface AdaptedGroup {
  /** Decoder layer, 0-based. */
  readonly layer: number;
  /** Full module names without ".weight", in the order in which deltas are given. */
  readonly modules: readonly string[];
  /** Length of x. */
  readonly inFeatures: number;
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
}

export interface DeltaSource {
  /** In the order in which a forward pass asks for them. */
  readonly groups: readonly AdaptedGroup[];
  /** Absent where deltas have no fewer dimensions than outputs, or nobody may know which. */
  readonly lowRank?: LowRankSource | undefined;
  /**
   * Starts computing the deltas of group `group` for x (tokens, inFeatures) row-major. Must not block: the
   * runner computes W·x meanwhile. x belongs to the caller and may be overwritten once wait() has resolved.
   *
   * @param after what begin gave for the group that this one is coupled to (look-ahead.ts), not waited for yet
   */
  begin(group: number, x: Float32Array, tokens: number, after?: PendingDelta): PendingDelta;
}

/** Deltas that are combinations of a few known directions: delta = Σ_k y_k·b_k, k < rank. */
export interface LowRankSource {
  /** b_1, b_2, … of a group with one module, (rank, outFeatures) row-major. */
  basisOf(group: number): Float32Array;
  /**
   * From now on begin(second, x, tokens, after) gives Σ_k y_k·effects_k more, where y are the coefficients that
   * `after`, a query of group `first`, is answered with.
   *
   * @param effects (rank of `first`, outFeatures[i]) row-major for each module of `second`
   */
  couple(first: number, second: number, effects: readonly Float32Array[]): void;
  /** Whether `couple` has been called for it. */
  isCoupled(second: number): boolean;
}
