// Arithmetic modulo the two NTT primes, four signed lanes at a time. p is always one of the two constants: functions
// are inlined, so each prime has its own copy.

/**
 * p = 2^27 + 28673 and 2^27 + 32769, the two smallest primes above 2^27 with p ≡ 1 mod 2N.
 * Above 2^27, so that a product bounded by 2^26 in absolute value is exact once centred, and one bounded by 2^53 is
 * exact modulo both; no larger, so that signed 32-bit lanes hold ±15.99·p, and a forward transform (11 levels, at most
 * 1.25·p each) needs no reduction at all.
 */
export const P: i32 = 134246401;
export const P2: i32 = 134250497;
/** ψ, a primitive 4096th root of unity, so ψ^2048 = -1: 41^((P - 1)/4096) mod P and 3^((P2 - 1)/4096) mod P2. */
export const PSI: i32 = 13571363;
export const PSI2: i32 = 7086764;

/** N^-1 = -(p - 1)/N mod p, for N = 2048 */
// @ts-ignore: decorator
@inline
export function inverseOfN(p: i32): i32 {
  return (1 - p) / 2048;
}

/**
 * y·w mod p in [-p/4, 5p/4), for any i32 y. (w, q) is a Shoup factor: |w| < p/2, q = w·2^32/p rounded to nearest.
 *
 * r = y·w - ⌊y·q / 2^32⌋·p, so r/p = y·(w/p - q/2^32) + fraction, with |y| ≤ 2^31, |w/p - q/2^32| ≤ 2^-33 and the
 * fraction in [0, 1). Constant time.
 */
// @ts-ignore: decorator
@inline
export function mulShoup(y: v128, w: v128, q: v128, p: i32): v128 {
  const low = i64x2.extmul_low_i32x4_s(y, q);
  const high = i64x2.extmul_high_i32x4_s(y, q);
  const quotient = v128.shuffle<i32>(low, high, 1, 3, 5, 7);
  return i32x4.sub(i32x4.mul(y, w), i32x4.mul(quotient, i32x4.splat(p)));
}

/** x - ⌊x / 2^27⌋·p: congruent to x, in [-p/64, 1.001p], for any i32 x. */
// @ts-ignore: decorator
@inline
export function reduce(x: v128, p: i32): v128 {
  return i32x4.sub(x, i32x4.mul(i32x4.shr_s(x, 27), i32x4.splat(p)));
}

/** The representative in [-(p-1)/2, (p-1)/2] of x in [-p/4, 5p/4). */
// @ts-ignore: decorator
@inline
export function center(x: v128, p: i32): v128 {
  const above = i32x4.gt_s(x, i32x4.splat((p - 1) / 2));
  return i32x4.sub(x, v128.and(above, i32x4.splat(p)));
}

/** q of the Shoup factor of w, |w| < p/2. */
export function shoupQuotient(w: i32, p: i32): i32 {
  return <i32>nearest<f64>(<f64>w * (4294967296.0 / <f64>p));
}

/** The centred representative of x mod p, for table building. */
export function centerScalar(x: i64, p: i32): i32 {
  let r = <i32>(x % p);
  const half = (p - 1) / 2;
  if (r > half) r -= p;
  if (r < -half) r += p;
  return r;
}

/** x^e mod p, centred, for table building. */
export function power(x: i32, e: i32, p: i32): i32 {
  let result: i64 = 1;
  let base: i64 = x;
  for (; e > 0; e >>= 1) {
    if (e & 1) result = <i64>centerScalar(result * base, p);
    base = <i64>centerScalar(base * base, p);
  }
  return <i32>result;
}

/** The q of four factors at once: the same rounding as shoupQuotient. */
// @ts-ignore: decorator
@inline
export function shoupQuotients(w: v128, p: i32): v128 {
  const ratio = f64x2.splat(4294967296.0 / <f64>p);
  const low = f64x2.nearest(f64x2.mul(f64x2.convert_low_i32x4_s(w), ratio));
  const upper = v128.shuffle<i32>(w, w, 2, 3, 2, 3);
  const high = f64x2.nearest(f64x2.mul(f64x2.convert_low_i32x4_s(upper), ratio));
  return v128.shuffle<i32>(
    i32x4.trunc_sat_f64x2_s_zero(low),
    i32x4.trunc_sat_f64x2_s_zero(high), 0, 1, 4, 5);
}
