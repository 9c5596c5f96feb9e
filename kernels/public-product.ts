// Products of a public ring element with secrets, modulo 2^32.
import { POLY_BYTES, RING_DEGREE, SCRATCH_A, SCRATCH_B } from "./memory";
import { factorNtt, forwardNtt, multiplyInverseAdd } from "./ntt";

/**
 * a = lo + 2^16·hi mod 2^32 with lo, hi in [-2^15, 2^15); out = (w, q) of NTT(lo)/N, then of NTT(hi)/N.
 * @param words u32[N], the coefficients of a
 * @param out PUBLIC_ELEMENT_BYTES
 */
export function preparePublicElement(words: usize, out: usize): void {
  for (let i: usize = 0; i < POLY_BYTES; i += 16) {
    const w = v128.load(words + i);
    const lo = i32x4.shr_s(i32x4.shl(w, 16), 16);
    v128.store(SCRATCH_A + i, lo);
    v128.store(SCRATCH_B + i, i32x4.shr_s(i32x4.sub(w, lo), 16));
  }
  factorNtt(SCRATCH_A, out);
  factorNtt(SCRATCH_B, out + 2 * POLY_BYTES);
}

/** out = NTT(s), s: i16[N] in {-1, 0, 1}, out: i32[N]. */
export function secretToNtt(s: usize, out: usize): void {
  for (let i: usize = 0; i < RING_DEGREE; i += 8) {
    const at = s + i * 2;
    if (!ASC_NO_ASSERT) {
      for (let k: usize = 0; k < 8; k++) assert(abs(<i32>load<i16>(at + k * 2)) <= 1);
    }
    v128.store(out + i * 4, v128.load16x4_s(at));
    v128.store(out + i * 4, v128.load16x4_s(at, 8), 16);
  }
  forwardNtt(out);
}

/**
 * out[i] = coefficient i of a·s mod 2^32, i < count: lo·s + 2^16·(hi·s), each exact modulo p because its
 * coefficients are at most 2^15·N = 2^26 < p/2.
 * @param out u32[count]
 */
export function multiplyPublic(element: usize, secret: usize, out: usize, count: i32): void {
  memory.fill(SCRATCH_A, 0, POLY_BYTES);
  multiplyInverseAdd(element, secret, SCRATCH_B, 0, SCRATCH_A, SCRATCH_A);
  const whole = <usize>count == RING_DEGREE;
  multiplyInverseAdd(element + 2 * POLY_BYTES, secret, SCRATCH_B, 16, SCRATCH_A, whole ? out : SCRATCH_A);
  if (!whole) memory.copy(out, SCRATCH_A, <usize>count * 4);
}
