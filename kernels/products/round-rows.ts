import { inBytes } from "./in-bytes";

// @ts-ignore: decorator
@inline
function largestOf(x: v128): f32 {
  const two = f32x4.max(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return max(f32x4.extract_lane(two, 0), f32x4.extract_lane(two, 1));
}

// @ts-ignore: decorator
@inline
function rounded(x: usize, inverse: v128): v128 {
  const low = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x), inverse)));
  const high = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x, 16), inverse)));
  return i16x8.narrow_i32x4_s(low, high);
}

// @ts-ignore: decorator
@inline
function even(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}

// @ts-ignore: decorator
@inline
function odd(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}

/**
 * Each block of x: t = max|x_i|/127 and q_i = round(x_i/t), ties to even. What is not a number makes t one that is none.
 *
 * @param x f32[blocks·block]
 * @param blocks of all rows together
 * @param block 32, 64 or 128
 * @param bits of the codes that the q_i will be multiplied with, 4 or 8: decides their order
 * @param zero the zero point of all codes, or 1: then each block has one
 * @param out i16[blocks·block], or i8 where they are multiplied in bytes
 * @param scales f32[blocks]: t
 * @param sums i32[blocks]: −zero·Σ q_i
 */
export function roundRows(
  x: usize, blocks: i32, block: i32, bits: i32, zero: i32, out: usize, scales: usize, sums: usize,
): void {
  for (let b = 0; b < blocks; b++) {
    const end = x + <usize>block * 4;
    let most = f32x4.splat(0);
    for (let at = x; at < end; at += 32) {
      most = f32x4.max(most, f32x4.max(f32x4.abs(v128.load(at)), f32x4.abs(v128.load(at, 16))));
    }
    const largest = largestOf(most);
    const inverse = f32x4.splat(largest > 0 ? <f32>127 / largest : 0);
    store<f32>(scales, largest / 127);
    let sum = i32x4.splat(0);
    for (; x < end; x += 128) {
      const a = rounded(x, inverse);
      const b = rounded(x + 32, inverse);
      const c = rounded(x + 64, inverse);
      const d = rounded(x + 96, inverse);
      const ab = even(a, b), cd = even(c, d), ab1 = odd(a, b), cd1 = odd(c, d);
      if (inBytes(bits)) {
        v128.store(out, i8x16.narrow_i16x8_s(ab, cd));
        v128.store(out, i8x16.narrow_i16x8_s(ab1, cd1), 16);
        out += 32;
      } else if (bits == 4) {
        v128.store(out, even(ab, cd));
        v128.store(out, even(ab1, cd1), 16);
        v128.store(out, odd(ab, cd), 32);
        v128.store(out, odd(ab1, cd1), 48);
        out += 64;
      } else {
        v128.store(out, ab);
        v128.store(out, ab1, 16);
        v128.store(out, cd, 32);
        v128.store(out, cd1, 48);
        out += 64;
      }
      const all = i16x8.add(i16x8.add(a, b), i16x8.add(c, d));
      sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(all));
    }
    const two = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
    store<i32>(sums, -zero * (i32x4.extract_lane(two, 0) + i32x4.extract_lane(two, 1)));
    scales += 4;
    sums += 4;
  }
}
