/** What one side accepts from the other. All defaults in one literal. */

export interface Limits {
  /** Largest message in bytes. */
  readonly maxMessageBytes: number;
  /** Most activation vectors in one query. */
  readonly maxVectors: number;
  /** Most queries of one connection that may be unanswered at a time. */
  readonly maxInFlight: number;
}

export const DEFAULT_LIMITS: Limits = Object.freeze({
  maxMessageBytes: 64 << 20,
  maxVectors: 4096,
  maxInFlight: 64,
});

/** Largest message a client accepts: an answer or a part of a bundle. */
export const MAX_PROVIDER_MESSAGE_BYTES = 64 << 20;
/** Largest bundle a client accepts, in bytes. */
export const MAX_BUNDLE_BYTES = 2 ** 31;
/** Bytes of a bundle that one BundlePart carries: few, because each client that does not read has some of them waiting. */
export const BUNDLE_PART_BYTES = 256 << 10;
