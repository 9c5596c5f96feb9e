/** One low-rank pair of an adapter, read. */

export interface LoraModule {
  /** Path of the adapted module in the base model, without ".weight". */
  readonly name: string;
  readonly rank: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** (rank, in) row-major. */
  readonly a: Float32Array;
  /** (out, rank) row-major. */
  readonly b: Float32Array;
  readonly scale: number;
  /** It adapts an embedding: x is the one-hot of a token. Default: a linear module. */
  readonly isEmbedding?: boolean;
  /** Experts that are beside each other: the rank is that of one times this. Default: 1 */
  readonly experts?: number;
}
