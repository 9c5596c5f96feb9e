// Marks of an account: a sign for each word, drawn with the word's own odds. Constant time.

/**
 * words_i += delta if random_i < odds_i, else −delta, mod 2^32. random_i has four bits: of 32 words the first 16 take the
 * low halves of 16 bytes, the others the high halves.
 * @param count a multiple of 16
 * @param odds u8[count], 0 to 16: of 16
 * @param random ⌈count/32⌉·16 bytes
 */
export function addMarks(words: usize, count: i32, delta: i32, odds: usize, random: usize): void {
  assert((count & 15) == 0);
  const plus = i32x4.splat(delta);
  let high = false;
  for (const end = words + <usize>count * 4; words < end; words += 64, odds += 16) {
    const bytes = v128.load(random);
    const nibbles = high ? i8x16.shr_u(bytes, 4) : v128.and(bytes, i8x16.splat(15));
    random += high ? 16 : 0;
    high = !high;
    // −1 where the sign is plus, 0 where it is minus.
    const less = i8x16.lt_u(nibbles, v128.load(odds));
    const first = i16x8.extend_low_i8x16_s(less);
    const second = i16x8.extend_high_i8x16_s(less);
    addSigned(words, plus, i32x4.extend_low_i16x8_s(first));
    addSigned(words + 16, plus, i32x4.extend_high_i16x8_s(first));
    addSigned(words + 32, plus, i32x4.extend_low_i16x8_s(second));
    addSigned(words + 48, plus, i32x4.extend_high_i16x8_s(second));
  }
}

/** Four words += delta where mask is −1, −delta where it is 0: −delta = ~delta + 1. */
// @ts-ignore: decorator
@inline
function addSigned(words: usize, delta: v128, mask: v128): void {
  const flipped = v128.not(mask);
  const signed = i32x4.sub(v128.xor(delta, flipped), flipped);
  v128.store(words, i32x4.add(v128.load(words), signed));
}
