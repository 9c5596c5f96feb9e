/** Sources of random bytes. Functions that need randomness take one as an argument. */

/** Fills `out` with uniform random bytes. */
export type RandomSource = (out: Uint8Array) => void;

/** What one call of crypto.getRandomValues may ask for. */
const QUOTA_BYTES = 65536;

/** The operating system's generator. */
export const systemRandom: RandomSource = (out) => {
  for (let offset = 0; offset < out.length; offset += QUOTA_BYTES) {
    crypto.getRandomValues(out.subarray(offset, offset + QUOTA_BYTES));
  }
};
