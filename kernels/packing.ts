// The top bits of words, as a little-endian bit stream. Branches depend on count and bits only.

/**
 * Value i = ⌊(w_i + 2^(31-bits)) mod 2^32 / 2^(32-bits)⌋ (no rounding at 32 bits) occupies bits [i·bits, (i+1)·bits)
 * of out; the rest of the last byte is zero.
 * @param bits 1 … 32
 * @param out ⌈count·bits / 8⌉ bytes, returned
 */
export function packTop(words: usize, count: i32, bits: i32, out: usize): i32 {
  assert(bits >= 1 && bits <= 32);
  const start = out;
  const half: u32 = bits == 32 ? 0 : 1 << (31 - bits);
  const drop: u32 = 32 - bits;
  const end = words + count * 4;
  // the `held` bits that the stream's next whole byte still waits for
  let pending: u64 = 0;
  let held = 0;
  if (bits == 25) {
    const packed = packTwentyFive(words, count, out);
    out += packed / 8 * 25;
    words += packed * 4;
  }
  // Two values at a time while 8 bytes can be stored: 2·28 bits and the 7 pending ones fit.
  if (bits <= 28) {
    const safe = <i32>((end - words) / 4) - 64 / bits - 2;
    for (const last = words + safe * 4; safe > 0 && words < last; words += 8) {
      const first: u32 = (load<u32>(words) + half) >> drop;
      const second: u32 = (load<u32>(words, 4) + half) >> drop;
      pending |= (<u64>first | (<u64>second << bits)) << held;
      store<u64>(out, pending);
      held += 2 * bits;
      out += held >> 3;
      pending >>= held & ~7;
      held &= 7;
    }
  }
  for (; words < end; words += 4) {
    // a local variable: inside <u64>(…) the compiler would load and add in 64 bits, without the wrap
    const value: u32 = (load<u32>(words) + half) >> drop;
    pending |= (<u64>value) << held;
    held += bits;
    if (held >= 32) {
      store<u32>(out, <u32>pending);
      out += 4;
      pending >>= 32;
      held -= 32;
    }
  }
  for (; held > 0; held -= 8, out++, pending >>= 8) store<u8>(out, <u8>pending);
  return <i32>(out - start);
}

/**
 * As packTop with 25 bits, those of a query: eight values in 25 bytes at a time, as long as 32 bytes may be stored.
 * @returns the number of values done, a multiple of 8
 */
function packTwentyFive(words: usize, count: i32, out: usize): i32 {
  const done = max(0, (count - 3) & ~7);
  const half = i32x4.splat(64);
  const low = i64x2.splat(0x1ffffff);
  const high = i64x2.splat(0x3fffffe000000);
  for (const end = words + done * 4; words < end; words += 32, out += 25) {
    const a = i32x4.shr_u(i32x4.add(v128.load(words), half), 7);
    const b = i32x4.shr_u(i32x4.add(v128.load(words, 16), half), 7);
    // two values of 25 bits beside each other in each 64-bit lane
    const first = v128.or(v128.and(a, low), v128.and(i64x2.shr_u(a, 7), high));
    const second = v128.or(v128.and(b, low), v128.and(i64x2.shr_u(b, 7), high));
    const c1: u64 = i64x2.extract_lane(first, 1);
    const c2: u64 = i64x2.extract_lane(second, 0);
    const c3: u64 = i64x2.extract_lane(second, 1);
    store<u64>(out, <u64>i64x2.extract_lane(first, 0) | (c1 << 50));
    store<u64>(out, (c1 >> 14) | (c2 << 36), 8);
    store<u64>(out, (c2 >> 28) | (c3 << 22), 16);
    store<u8>(out, <u8>(c3 >> 42), 24);
  }
  return done;
}

/** words_i = value i of the stream · 2^(32-bits). Reads up to 8 bytes past the stream, and ignores them. */
export function unpackTop(packed: usize, count: i32, bits: i32, words: usize): void {
  assert(bits >= 1 && bits <= 32);
  const drop: u32 = 32 - bits;
  const end = words + count * 4;
  if (bits == 25) {
    const unpacked = unpackTwentyFive(packed, count, words);
    packed += unpacked / 8 * 25;
    words += unpacked * 4;
  }
  let position: u64 = 0;
  for (; words < end; words += 4) {
    const value = load<u64>(packed + <usize>(position >> 3)) >> (position & 7);
    store<u32>(words, (<u32>value) << drop);
    position += bits;
  }
}

/**
 * As unpackTop with 25 bits, those of a query: eight values from 25 bytes at a time, as long as 28 bytes may be read.
 * @returns the number of values done, a multiple of 8
 */
function unpackTwentyFive(packed: usize, count: i32, words: usize): i32 {
  const done = max(0, count - 8) & ~7;
  // Value i of the first four begins at bit i of byte 3·i, of the others at bit 4 + i of byte 12 + 3·i.
  const places = i8x16(0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12);
  const first = i32x4(128, 64, 32, 16);
  const second = i32x4(8, 4, 2, 1);
  const top = i32x4.splat(-128);
  for (const end = words + done * 4; words < end; words += 32, packed += 25) {
    const a = i8x16.swizzle(v128.load(packed), places);
    const b = i8x16.swizzle(v128.load(packed, 12), places);
    v128.store(words, v128.and(i32x4.mul(a, first), top));
    v128.store(words, v128.and(i32x4.mul(b, second), top), 16);
  }
  return done;
}

/**
 * w = lo + 2^16·hi mod 2^32, lo and hi in [-2^15, 2^15).
 * @param lo i16[count] @param hi i16[count]
 */
export function splitWords(words: usize, count: i32, lo: usize, hi: usize): void {
  const whole = count & ~7;
  for (const end = words + whole * 4; words < end; words += 32, lo += 16, hi += 16) {
    const a = v128.load(words);
    const b = v128.load(words, 16);
    const half = i32x4.splat(0x8000);
    const lowA = i32x4.shr_s(i32x4.shl(a, 16), 16);
    const lowB = i32x4.shr_s(i32x4.shl(b, 16), 16);
    v128.store(lo, i16x8.narrow_i32x4_s(lowA, lowB));
    v128.store(
      hi,
      i16x8.narrow_i32x4_s(i32x4.shr_s(i32x4.add(a, half), 16), i32x4.shr_s(i32x4.add(b, half), 16)),
    );
  }
  for (let i = whole; i < count; i++, words += 4, lo += 2, hi += 2) {
    const w = load<i32>(words);
    store<i16>(lo, <i16>w);
    store<i16>(hi, <i16>((w + 0x8000) >> 16));
  }
}
