// Centred binomial errors.

/** Σ of the set bits of two bytes and of five bits of a third, for 16 samples. */
// @ts-ignore: decorator
@inline
function popcount21(plane: usize): v128 {
  const top = v128.and(v128.load(plane, 32), i8x16.splat(31));
  return i8x16.add(i8x16.add(i8x16.popcnt(v128.load(plane)), i8x16.popcnt(v128.load(plane, 16))), i8x16.popcnt(top));
}

/**
 * words_i += CBD(21) mod 2^32: a difference of two sums of 21 random bits, variance 10.5. Constant time.
 *
 * 16 samples take 96 bytes in six planes of 16: byte k of planes 0, 1 and (low five bits) 2 gives the positive bits
 * of sample k, planes 3, 4 and 5 the negative ones.
 * @param count a multiple of 16
 * @param random 6·count bytes
 */
export function addErrors(words: usize, count: i32, random: usize): void {
  assert((count & 15) == 0);
  for (const end = words + count * 4; words < end; words += 64, random += 96) {
    const e = i8x16.sub(popcount21(random), popcount21(random + 48));
    const low = i16x8.extend_low_i8x16_s(e);
    const high = i16x8.extend_high_i8x16_s(e);
    v128.store(words, i32x4.add(v128.load(words), i32x4.extend_low_i16x8_s(low)));
    v128.store(words, i32x4.add(v128.load(words, 16), i32x4.extend_high_i16x8_s(low)), 16);
    v128.store(words, i32x4.add(v128.load(words, 32), i32x4.extend_low_i16x8_s(high)), 32);
    v128.store(words, i32x4.add(v128.load(words, 48), i32x4.extend_high_i16x8_s(high)), 48);
  }
}
