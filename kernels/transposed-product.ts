// The other direction of the same matrix, for the hint: weights times C.
import {
  POLY_BYTES,
  RING_DEGREE,
  SCRATCH_A,
  SCRATCH_B,
  SCRATCH_DIGITS,
  SCRATCH_NTT,
  TRANSPOSED_PARTS,
} from "./memory";
import { factorNtt, forwardNtt, multiplyInverseAdd } from "./ntt";
import { multiplyPublic } from "./public-product";

/** Bits of a part of the public element, and of a digit of the small integers: 2^10 · 2^5 · N = 2^26 < p/2. */
const PART_BITS: i32 = 11;
const DIGIT_BITS: i32 = 6;

/**
 * TRANSPOSED_PARTS = (w, q) of the NTT of three parts of b = a(X^-1): b = b0 + 2^11·b1 + 2^22·b2 mod 2^32,
 * b0, b1 in [-2^10, 2^10), b2 in [-2^9, 2^9). a is read back from its prepared form as a·1.
 */
export function prepareTransposed(element: usize): void {
  const one = i32x4.splat(1);
  for (let i: usize = 0; i < POLY_BYTES; i += 16) v128.store(SCRATCH_NTT + i, one);
  const words = TRANSPOSED_PARTS; // free until the first part is written
  multiplyPublic(element, SCRATCH_NTT, words, RING_DEGREE);
  // b_0 = a_0, b_(N-i) = -a_i
  store<i32>(SCRATCH_NTT, load<i32>(words));
  for (let i: usize = 4; i < POLY_BYTES; i += 4)
    store<i32>(SCRATCH_NTT + POLY_BYTES - i, -load<i32>(words + i));
  for (let part: usize = 0; part < 3; part++) {
    const unused = part < 2 ? 32 - PART_BITS : 22;
    for (let i: usize = 0; i < POLY_BYTES; i += 16) {
      const rest = v128.load(SCRATCH_NTT + i);
      const low = i32x4.shr_s(i32x4.shl(rest, unused), unused);
      v128.store(SCRATCH_A + i, low);
      v128.store(SCRATCH_NTT + i, i32x4.shr_s(i32x4.sub(rest, low), PART_BITS));
    }
    factorNtt(SCRATCH_A, TRANSPOSED_PARTS + part * 2 * POLY_BYTES);
  }
}

/**
 * out_j += Σ_i small_i·C[i][j] mod 2^32, C[i][j] = coefficient i of a·X^j: as polynomials, out += small·a(X^-1).
 *
 * small is split into balanced base-64 digits in [-32, 32], a(X^-1) into the three parts above; each of the
 * digits × parts products is exact modulo p. Needs prepareTransposed(element) before.
 * @param small i16[count], |small_i| ≤ 2^(bits - 1), bits ≤ 13
 * @param out u32[N]
 */
export function transposedProduct(small: usize, count: i32, bits: i32, out: usize): void {
  memory.copy(SCRATCH_DIGITS, small, count * 2);
  memory.fill(SCRATCH_DIGITS + count * 2, 0, (<i32>RING_DEGREE - count) * 2);
  const digits = bits <= 6 ? 1 : bits <= 12 ? 2 : 3;
  for (let digit = 0; digit < digits; digit++) {
    takeDigit(digit == digits - 1);
    forwardNtt(SCRATCH_NTT);
    for (let part: usize = 0; part < 3; part++) {
      const shift = digit * DIGIT_BITS + <i32>part * PART_BITS;
      if (shift >= 32) break; // a multiple of 2^32
      multiplyInverseAdd(TRANSPOSED_PARTS + part * 2 * POLY_BYTES, SCRATCH_NTT, SCRATCH_B, shift, out, out);
    }
  }
}

/** SCRATCH_NTT = the lowest digit of SCRATCH_DIGITS, which keeps the rest; the last digit is all that is left. */
function takeDigit(last: bool): void {
  for (let i: usize = 0; i < RING_DEGREE; i += 8) {
    const at = SCRATCH_DIGITS + i * 2;
    const rest = v128.load(at);
    const low = last ? rest : i16x8.shr_s(i16x8.shl(rest, 16 - DIGIT_BITS), 16 - DIGIT_BITS);
    v128.store(at, i16x8.shr_s(i16x8.sub(rest, low), DIGIT_BITS));
    v128.store(SCRATCH_NTT + i * 4, i32x4.extend_low_i16x8_s(low));
    v128.store(SCRATCH_NTT + i * 4, i32x4.extend_high_i16x8_s(low), 16);
    if (!ASC_NO_ASSERT) {
      for (let k: usize = 0; k < 8; k++) assert(abs(load<i32>(SCRATCH_NTT + (i + k) * 4)) <= 32);
    }
  }
}
