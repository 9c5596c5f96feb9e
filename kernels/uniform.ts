// Uniform integers of a few bits, from two random bytes each. Constant time.

/**
 * words_i += uniform in [-2^(bits-1), 2^(bits-1)) mod 2^32.
 * @param count a multiple of 8
 * @param random 2·count bytes
 */
export function addUniform(words: usize, count: i32, bits: i32, random: usize): void {
  assert((count & 7) == 0 && bits >= 1 && bits <= 16);
  const unused = 16 - bits;
  for (const end = words + <usize>count * 4; words < end; words += 32, random += 16) {
    const x = i16x8.shr_s(i16x8.shl(v128.load(random), unused), unused);
    v128.store(words, i32x4.add(v128.load(words), i32x4.extend_low_i16x8_s(x)));
    v128.store(words, i32x4.add(v128.load(words, 16), i32x4.extend_high_i16x8_s(x)), 16);
  }
}

/**
 * out: i16[count], uniform in (-2^(bits-1), 2^(bits-1)].
 * @param count a multiple of 8
 * @param random 2·count bytes
 */
export function sampleUniform(random: usize, count: i32, bits: i32, out: usize): void {
  assert((count & 7) == 0 && bits >= 1 && bits <= 15);
  const unused = 16 - bits;
  for (const end = out + <usize>count * 2; out < end; out += 16, random += 16) {
    const x = i16x8.shr_s(i16x8.shl(v128.load(random), unused), unused);
    v128.store(out, i16x8.add(x, i16x8.splat(1)));
  }
}

/** The same as i8[count], with at most 7 bits. */
export function sampleUniform8(random: usize, count: i32, bits: i32, out: usize): void {
  assert((count & 7) == 0 && bits >= 1 && bits <= 7);
  const unused = 16 - bits;
  for (const end = out + <usize>count; out < end; out += 8, random += 16) {
    const x = i16x8.add(i16x8.shr_s(i16x8.shl(v128.load(random), unused), unused), i16x8.splat(1));
    v128.store64_lane(out, i8x16.narrow_i16x8_s(x, x), 0);
  }
}
