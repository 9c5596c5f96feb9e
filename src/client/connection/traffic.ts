/** Bytes and messages on the wire, as far as the frames go. Keys are counted apart: a cost of many tokens at once. */
export interface Traffic {
  /** Without keys. */
  bytesUp: number;
  /** Without keys. */
  bytesDown: number;
  /** Answered queries. */
  roundTrips: number;
  /** Activation vectors in them: what a budget counts. */
  vectors: number;
  /** Keys that came. */
  keys: number;
  /** Bytes of them, and of asking for them. */
  keyBytes: number;
}

export const noTraffic = (): Traffic => ({
  bytesUp: 0,
  bytesDown: 0,
  roundTrips: 0,
  vectors: 0,
  keys: 0,
  keyBytes: 0,
});
