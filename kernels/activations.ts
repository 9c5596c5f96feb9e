// Between float activations and words.

/** Σ x_i² in f64: four partial sums over i mod 4, NaN and infinity propagate. x: f32[n] */
export function squaredNorm(x: usize, n: i32): f64 {
  let even = f64x2.splat(0);
  let odd = f64x2.splat(0);
  const whole = n & ~3;
  for (const end = x + whole * 4; x < end; x += 16) {
    const v = v128.load(x);
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
    even = f64x2.add(even, f64x2.mul(low, low));
    odd = f64x2.add(odd, f64x2.mul(high, high));
  }
  const both = f64x2.add(even, odd);
  let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
  for (let i = whole; i < n; i++, x += 4) sum += <f64>load<f32>(x) * <f64>load<f32>(x);
  return sum;
}

/** 1.5·2^52: adding it rounds to the nearest integer (ties to even), which then stands in the low 32 bits, mod 2^32. */
const ROUNDER: f64 = 6755399441055744.0;

/**
 * words_i += round(scale·x_i) mod 2^32, in f64, ties to even; scale 0 adds 0 whatever x is. No branch on a value.
 * @param x f32[n], |scale·x_i| < 2^31
 */
export function addScaled(words: usize, x: usize, n: i32, scale: f64): void {
  if (!ASC_NO_ASSERT) {
    for (let i = 0; i < n; i++) assert(scale == 0 || abs(scale * <f64>load<f32>(x + i * 4)) < 2147483648.0);
  }
  const factor = f64x2.splat(scale);
  const rounder = f64x2.splat(ROUNDER);
  const mask = f64x2.ne(factor, f64x2.splat(0));
  const whole = n & ~3;
  for (const end = x + whole * 4; x < end; x += 16, words += 16) {
    const v = v128.load(x);
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
    const a = v128.and(f64x2.add(f64x2.mul(low, factor), rounder), mask);
    const b = v128.and(f64x2.add(f64x2.mul(high, factor), rounder), mask);
    v128.store(words, i32x4.add(v128.load(words), v128.shuffle<i32>(a, b, 0, 2, 4, 6)));
  }
  for (let i = whole; i < n; i++, x += 4, words += 4) {
    const rounded = <i32>reinterpret<i64>(<f64>load<f32>(x) * scale + ROUNDER);
    store<i32>(words, load<i32>(words) + (rounded & i32x4.extract_lane(mask, 0)));
  }
}
