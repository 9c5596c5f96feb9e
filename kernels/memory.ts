// The one table of static buffers: each line is start, bytes (a multiple of 16), what it holds. A buffer starts
// where the one above ends; the host allocates from STATIC_END on. SECRET buffers depend on keys, weights or
// errors: together they are [SECRET_START, STATIC_END), which wipeScratch() clears.

/** N, coefficients of a ring element. */
export const RING_DEGREE: usize = 2048;

/** A polynomial of N i32. */
export const POLY_BYTES: usize = RING_DEGREE * 4;
/** Its transform: N/2 complex numbers of two f64 (fft.ts). */
export const SPECTRUM_BYTES: usize = RING_DEGREE * 8;

/** Roots of a block, six f64: real and imaginary part of ζ², ζ and ζ³ (fft.ts). */
export const ROOT_BYTES: usize = 48;
/** Blocks of the passes with strides 256, 64, 16 and 4. */
const BLOCKS: usize = 1 + 4 + 16 + 64;
/** Roots of those blocks; then, in pairs of blocks, one in each lane, those of the 256 blocks of stride 1. */
export const ROOTS: usize = 1024;
export const ROOT_PAIRS: usize = ROOTS + BLOCKS * ROOT_BYTES;

export const SECRET_START: usize = ROOT_PAIRS + 256 * ROOT_BYTES;
/** A polynomial on its way through a transform. */
export const WORK: usize = SECRET_START;
/** The sum of products so far, as a spectrum; then its coefficients, i32[N]. */
export const SUM: usize = WORK + SPECTRUM_BYTES;
/** Small integers with zeros behind them, i16[N] or i8[N]; coefficients of a transposed public element, i32[N]. */
export const PADDED: usize = SUM + SPECTRUM_BYTES;
/** Accepted random bytes of the ternary sampler, and the room that one more store may touch. */
export const SCRATCH_BYTES: usize = PADDED + POLY_BYTES;

export const STATIC_END: usize = SCRATCH_BYTES + 448;
