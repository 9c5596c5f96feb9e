// Exact sums of products of ring elements with small integers, modulo 2^32, over both primes: Σ_j a_j·x_j as integers,
// with coefficients of at most 2^53 in absolute value, then reduced. |a| ≤ 2^31, so Σ_j ‖x_j‖₁ ≤ 2^22 is always exact.
import { POLY_BYTES, RING_DEGREE, SCRATCH_A, SCRATCH_B, SCRATCH_NTT, WIDE_SUM } from "./memory";
import { center, mulShoup, P, P2, reduce, shoupQuotient } from "./modular";
import {
  factorNtt,
  factorNtt2,
  forwardNtt,
  forwardNtt2,
  forwardOf,
  forwardOf2,
  inverseProduct,
  inverseProduct2,
  multiplyAdd,
  multiplyAdd2,
} from "./ntt";

/** P^-1 mod P2: P = P2 - 4096, and 4096·32776 = P2 - 1. */
const P_INVERSE: i32 = 32776;

/** x: i32[N], any → congruent mod p and within 2^28. */
// @ts-ignore: decorator
@inline
function reduceAll(x: usize, to: usize, p: i32): void {
  for (let i: usize = 0; i < POLY_BYTES; i += 16) v128.store(to + i, reduce(v128.load(x + i), p));
}

/**
 * out = (w, q) of NTT(a)/N modulo P, then modulo P2, a read as signed words.
 * @param words u32[N], the coefficients of a
 * @param transposed take a(X^-1) instead: the product with it is by the transposed matrix of a
 * @param out PUBLIC_ELEMENT_BYTES
 */
export function prepareWide(words: usize, transposed: bool, out: usize): void {
  if (transposed) {
    // b_0 = a_0, b_(N-i) = -a_i
    store<i32>(SCRATCH_B, load<i32>(words));
    for (let i: usize = 4; i < POLY_BYTES; i += 4) store<i32>(SCRATCH_B + POLY_BYTES - i, -load<i32>(words + i));
  } else {
    memory.copy(SCRATCH_B, words, POLY_BYTES);
  }
  reduceAll(SCRATCH_B, SCRATCH_A, P);
  factorNtt(SCRATCH_A, out);
  reduceAll(SCRATCH_B, SCRATCH_A, P2);
  factorNtt2(SCRATCH_A, out + 2 * POLY_BYTES);
}

/** Debug builds only: Σ ‖small_j‖₁ of the sum so far, at most 2^22. */
let norm = 0;

function addNorm<T>(small: usize, count: i32): void {
  for (let i = 0; i < count; i++) norm += abs(<i32>load<T>(small + i * sizeof<T>()));
  assert(norm <= 1 << 22);
}

/** out: i32[N] = small, then zeros; if small is no longer than a quarter, that quarter four times (forwardMultiply). */
function spreadQuarters(small: usize, count: i32, out: usize): void {
  if (count > <i32>RING_DEGREE / 4) return spread<i16>(small, count, POLY_BYTES, out);
  spread<i16>(small, count, POLY_BYTES / 4, out);
  for (let i: usize = 1; i < 4; i++) memory.copy(out + i * POLY_BYTES / 4, out, POLY_BYTES / 4);
}

/** out: `bytes` bytes of i32, small, then zeros. */
function spread<T>(small: usize, count: i32, bytes: usize, out: usize): void {
  let i: usize = 0;
  for (const whole = <usize>count & ~7; i < whole; i += 8) {
    const x = sizeof<T>() == 1 ? v128.load8x8_s(small + i) : v128.load(small + i * 2);
    v128.store(out + i * 4, i32x4.extend_low_i16x8_s(x));
    v128.store(out + i * 4, i32x4.extend_high_i16x8_s(x), 16);
  }
  for (; i < <usize>count; i++) store<i32>(out + i * 4, <i32>load<T>(small + i * sizeof<T>()));
  memory.fill(out + i * 4, 0, bytes - i * 4);
}

// @ts-ignore: decorator
@inline
function transform<T>(small: usize, count: i32, out: usize): void {
  if (!ASC_NO_ASSERT) {
    norm = 0;
    addNorm<T>(small, count);
  }
  spread<T>(small, count, POLY_BYTES, out);
  memory.copy(out + POLY_BYTES, out, POLY_BYTES);
  forwardNtt(out);
  forwardNtt2(out + POLY_BYTES);
}

/**
 * out: i32[2][N] = NTT(small) modulo P, then modulo P2, for products with many elements.
 * @param small i16[count], count ≤ N, ‖small‖₁ ≤ 2^22
 */
export function transformSmall(small: usize, count: i32, out: usize): void {
  transform<i16>(small, count, out);
}

/** The same of i8[count]. */
export function transformSmall8(small: usize, count: i32, out: usize): void {
  transform<i8>(small, count, out);
}

/**
 * Adds a·small to the sum, or begins it.
 * @param element as prepareWide made it
 * @param small i16[count], count ≤ N
 */
export function addWide(element: usize, small: usize, count: i32, first: bool): void {
  if (!ASC_NO_ASSERT) {
    if (first) norm = 0;
    addNorm<i16>(small, count);
  }
  spreadQuarters(small, count, SCRATCH_NTT);
  forwardOf(count, SCRATCH_NTT);
  multiplyAdd(SCRATCH_NTT, element, WIDE_SUM, first);
  spreadQuarters(small, count, SCRATCH_NTT);
  forwardOf2(count, SCRATCH_NTT);
  multiplyAdd2(SCRATCH_NTT, element + 2 * POLY_BYTES, WIDE_SUM + POLY_BYTES, first);
}

/**
 * v mod 2^32 of four coefficients, |v| ≤ 2^53: r ≡ v mod P in [-P/4, 5P/4), t ≡ (v - r)/P mod P2 centred, v = r + P·t.
 * |v - r|/P ≤ 2^53/P + 5/4 is 3·10^4 below P2/2, so t is that very quotient, and r need not be centred.
 */
// @ts-ignore: decorator
@inline
function combine(i: usize, w: v128, q: v128): v128 {
  const r = v128.load(WIDE_SUM + i);
  const difference = i32x4.sub(v128.load(WIDE_SUM + POLY_BYTES + i), r);
  const t = center(mulShoup(difference, w, q, P2), P2);
  return i32x4.add(r, i32x4.mul(t, i32x4.splat(P)));
}

/**
 * out_i += coefficient i of the sum and of a·small mod 2^32, i < outCount. The last product goes straight into the inverse
 * transform.
 * @param element as prepareWide made it
 * @param small i16[count], count ≤ N
 * @param first whether there is no sum before
 * @param out u32[outCount]
 */
export function finishWide(
  element: usize, small: usize, count: i32, first: bool, out: usize, outCount: i32,
): void {
  if (!ASC_NO_ASSERT) {
    if (first) norm = 0;
    addNorm<i16>(small, count);
  }
  spreadQuarters(small, count, SCRATCH_NTT);
  forwardOf(count, SCRATCH_NTT);
  inverseProduct(element, SCRATCH_NTT, WIDE_SUM, first, outCount);
  spreadQuarters(small, count, SCRATCH_NTT);
  forwardOf2(count, SCRATCH_NTT);
  inverseProduct2(element + 2 * POLY_BYTES, SCRATCH_NTT, WIDE_SUM + POLY_BYTES, first, outCount);
  addCombined(out, outCount);
}

/** out_i += coefficient i of a·small mod 2^32, i < count. @param transformed as transformSmall made it */
export function wideProductOf(element: usize, transformed: usize, out: usize, count: i32): void {
  inverseProduct(element, transformed, WIDE_SUM, true, count);
  inverseProduct2(element + 2 * POLY_BYTES, transformed + POLY_BYTES, WIDE_SUM + POLY_BYTES, true, count);
  addCombined(out, count);
}

/** out_i += the integer whose residues stand in WIDE_SUM, mod 2^32. */
function addCombined(out: usize, count: i32): void {
  const w = i32x4.splat(P_INVERSE);
  const q = i32x4.splat(shoupQuotient(P_INVERSE, P2));
  const bytes = <usize>count * 4;
  let i: usize = 0;
  for (const whole = bytes & ~15; i < whole; i += 16) {
    v128.store(out + i, i32x4.add(v128.load(out + i), combine(i, w, q)));
  }
  if (i < bytes) {
    v128.store(SCRATCH_NTT, combine(i, w, q));
    for (let k: usize = 0; i < bytes; i += 4, k += 4) {
      store<i32>(out + i, load<i32>(out + i) + load<i32>(SCRATCH_NTT + k));
    }
  }
}
