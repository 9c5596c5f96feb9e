/** Numbers of MXFP4 (OCP Microscaling Formats 1.0, section 5): w = E2M1[code]·2^(scale − 127), codes of 4 bits. */

/** Twice the number that a code stands for. */
export const TWICE_E2M1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** The largest scale with which float32 holds the largest number of a block, 6·2^125. 255 stands for NaN. */
export const MAX_SCALE = 252;

/** What twice a number is multiplied with; NaN where float32 would not hold the numbers. */
export function halfScale(scale: number): number {
  return scale > MAX_SCALE ? Number.NaN : 2 ** (scale - 128);
}
