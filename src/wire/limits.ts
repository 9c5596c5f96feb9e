/** What one side accepts from the other. */

export interface Limits {
  /** Largest message in bytes. */
  readonly maxMessageBytes: number;
  /** Most activation vectors in one query. */
  readonly maxVectors: number;
  /** Most queries of one connection that may be unanswered at a time. */
  readonly maxInFlight: number;
}

/** With these a prompt of 16,384 tokens is asked at once. The largest message follows from them: provider/limits.ts. */
export const DEFAULT_LIMITS: Omit<Limits, "maxMessageBytes"> = Object.freeze({
  maxVectors: 240,
  maxInFlight: 64,
});

/** No side sends or reads a larger message. */
export const MAX_MESSAGE_BYTES = 64 << 20;
/** What a client reads of a provider: a part of a key has B and H of one group, whole. */
export const MAX_PROVIDER_MESSAGE_BYTES = MAX_MESSAGE_BYTES;
/** Room in a message for everything but a query's ciphertext. */
export const FRAME_OVERHEAD_BYTES = 1024;
/** Largest bundle a client accepts, in bytes. */
export const MAX_BUNDLE_BYTES = 2 ** 31;
/** Bytes of a bundle that one BundlePart carries: few, because each client that does not read has some of them waiting. */
export const BUNDLE_PART_BYTES = 256 << 10;
