// The one table of static buffers: each line is start, bytes (a multiple of 16), what it holds. A buffer starts
// where the one above ends; the host allocates from STATIC_END on. SECRET buffers depend on keys, weights or
// errors: together they are [SECRET_START, STATIC_END), which wipeScratch() clears.

/** N, coefficients of a ring element. */
export const RING_DEGREE: usize = 2048;

/** A polynomial of N i32. */
export const POLY_BYTES: usize = RING_DEGREE * 4;

/** (w, q) pairs, 8 bytes, of the levels whose stride is at least 4: index m + i for block i of the level with m blocks. */
export const FORWARD_PAIRS: usize = 1024;
export const INVERSE_PAIRS: usize = FORWARD_PAIRS + 512 * 8;
/** Four vectors (w, q of stride 2; w, q of stride 1), 64 bytes, for each of the 256 blocks of 8 coefficients. */
export const FORWARD_TAIL: usize = INVERSE_PAIRS + 512 * 8;
export const INVERSE_TAIL: usize = FORWARD_TAIL + 256 * 64;
/** The public element whose transposed parts are at hand: 3 parts as (w, q) polynomials. */
export const TRANSPOSED_PARTS: usize = INVERSE_TAIL + 256 * 64;

export const SECRET_START: usize = TRANSPOSED_PARTS + 3 * 2 * POLY_BYTES;
/** Two polynomials between inverse transforms and the result. */
export const SCRATCH_A: usize = SECRET_START;
export const SCRATCH_B: usize = SCRATCH_A + POLY_BYTES;
/** A polynomial in NTT form. */
export const SCRATCH_NTT: usize = SCRATCH_B + POLY_BYTES;
/** i16[N + 8]: what is left of the small integers after the digits already taken. */
export const SCRATCH_DIGITS: usize = SCRATCH_NTT + POLY_BYTES;
/** Accepted random bytes of the ternary sampler, and the room that one more store may touch. */
export const SCRATCH_BYTES: usize = SCRATCH_DIGITS + RING_DEGREE * 2 + 16;

export const STATIC_END: usize = SCRATCH_BYTES + 448;

/** Bytes of a prepared public element: (w, q) of both halves. */
export const PUBLIC_ELEMENT_BYTES: usize = 4 * POLY_BYTES;
