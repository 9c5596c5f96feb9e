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
 * out_i = round(scale·x_i) in f64, ties to even, held within i16; scale 0 gives 0 whatever x is. No branch on a value.
 * @param x f32[n], |scale·x_i| < 2^15
 * @param out i16[n]
 */
export function scaleActivation(x: usize, n: i32, scale: f64, out: usize): void {
  if (!ASC_NO_ASSERT) {
    for (let i = 0; i < n; i++) assert(scale == 0 || abs(scale * <f64>load<f32>(x + i * 4)) < 32767.5);
  }
  const factor = f64x2.splat(scale);
  const rounder = f64x2.splat(ROUNDER);
  const mask = f64x2.ne(factor, f64x2.splat(0));
  const whole = n & ~3;
  for (const end = x + whole * 4; x < end; x += 16, out += 8) {
    const v = v128.load(x);
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
    const a = v128.and(f64x2.add(f64x2.mul(low, factor), rounder), mask);
    const b = v128.and(f64x2.add(f64x2.mul(high, factor), rounder), mask);
    const words = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
    v128.store64_lane(out, i16x8.narrow_i32x4_s(words, words), 0);
  }
  for (let i = whole; i < n; i++, x += 4, out += 2) {
    const rounded = <i32>reinterpret<i64>(<f64>load<f32>(x) * scale + ROUNDER);
    const masked = rounded & i32x4.extract_lane(mask, 0);
    store<i16>(out, <i16>max(-32768, min(32767, masked)));
  }
}
