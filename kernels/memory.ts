// The one table of static buffers: each line is start, bytes (a multiple of 16), what it holds. A buffer starts
// where the one above ends; the host allocates from STATIC_END on. SECRET buffers depend on keys, weights or
// errors: together they are [SECRET_START, STATIC_END), which wipeScratch() clears.

/** N, coefficients of a ring element. */
export const RING_DEGREE: usize = 2048;

/** A polynomial of N i32. */
export const POLY_BYTES: usize = RING_DEGREE * 4;

/**
 * Twiddle factors of a prime, at these distances from its table: (w, q) pairs, 8 bytes, of the levels whose stride is
 * at least 4 (index m + i for block i of the level with m blocks); then four vectors (w, q of stride 2; w, q of stride
 * 1), 64 bytes, for each of the 256 blocks of 8 coefficients.
 */
export const FORWARD_PAIRS: usize = 0;
export const INVERSE_PAIRS: usize = FORWARD_PAIRS + 512 * 8;
export const FORWARD_TAIL: usize = INVERSE_PAIRS + 512 * 8;
export const INVERSE_TAIL: usize = FORWARD_TAIL + 256 * 64;
const TABLE_BYTES: usize = INVERSE_TAIL + 256 * 64;

export const TABLE: usize = 1024;
export const TABLE2: usize = TABLE + TABLE_BYTES;

export const SECRET_START: usize = TABLE2 + TABLE_BYTES;
/** Two polynomials between inverse transforms and the result. */
export const SCRATCH_A: usize = SECRET_START;
export const SCRATCH_B: usize = SCRATCH_A + POLY_BYTES;
/** The same two: a sum of products in NTT form, modulo each of the two primes. No kernel needs both. */
export const WIDE_SUM: usize = SCRATCH_A;
/** Small integers in NTT form, modulo one prime at a time. */
export const SCRATCH_NTT: usize = SCRATCH_B + POLY_BYTES;
/** Accepted random bytes of the ternary sampler, and the room that one more store may touch. */
export const SCRATCH_BYTES: usize = SCRATCH_NTT + POLY_BYTES;

export const STATIC_END: usize = SCRATCH_BYTES + 448;

/** Bytes of a prepared public element: (w, q) of both halves, or modulo both primes. */
export const PUBLIC_ELEMENT_BYTES: usize = 4 * POLY_BYTES;
