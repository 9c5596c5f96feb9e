/** Sizes that the kernels and the layers above agree on. The kernels' own table (kernels/memory.ts) is checked against these at load. */

/** N: coefficients of a ring element of Z_{2^32}[X]/(X^N + 1). */
export const RING_DEGREE = 2048;

/** Bytes of a polynomial: N words. */
export const POLY_BYTES = 4 * RING_DEGREE;

/** Bytes of a transformed polynomial, and so of a prepared public element: N/2 complex numbers of two f64. */
export const SPECTRUM_BYTES = 8 * RING_DEGREE;

/**
 * Random bytes that one ternary secret is drawn from: 416 of them must be below 243, each with probability
 * 243/256. Pr[more than 128 of 544 rejected] ≤ 2^(-544·KL(129/544 ‖ 13/256)) < 2^-150.
 */
export const TERNARY_RANDOM_BYTES = 544;

/** Random bytes of one CBD(21) error: 42 bits used of 48. */
export const ERROR_RANDOM_BYTES = 6;

/** Variance of CBD(21): 21/2. */
export const ERROR_VARIANCE = 10.5;

/** Key stream comes in runs of four ChaCha20 blocks. */
export const RANDOM_CHUNK_BYTES = 256;

/** Bytes of `count` values of `bits` bits each: ⌈count·bits / 8⌉. */
export function packedBytes(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8);
}
