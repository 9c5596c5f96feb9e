// ChaCha20 key stream (RFC 8439 §2.3), four blocks at a time: lane k of each vector belongs to block counter + k.
//
// State words: 0-3 constants, 4-11 key, 12 block counter from 0, 13 nonceLow, 14 nonceHigh, 15 zero.

/** x rotated left by n bits. By whole bytes it is one instruction: a swizzle by a constant, which V8 knows to be in range. */
// @ts-ignore: decorator
@inline
function rotate(x: v128, n: i32): v128 {
  if (n == 16) return i8x16.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  if (n == 8) return i8x16.swizzle(x, i8x16(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14));
  return v128.or(i32x4.shl(x, n), i32x4.shr_u(x, 32 - n));
}

/** Stores the 4×4 transpose of words (a, b, c, d) of four blocks, plus the input words, at out, out + 64 … */
// @ts-ignore: decorator
@inline
function storeWords(out: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const ab2 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cd2 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i32>(ab0, cd0, 0, 1, 4, 5));
  v128.store(out, v128.shuffle<i32>(ab0, cd0, 2, 3, 6, 7), 64);
  v128.store(out, v128.shuffle<i32>(ab2, cd2, 0, 1, 4, 5), 128);
  v128.store(out, v128.shuffle<i32>(ab2, cd2, 2, 3, 6, 7), 192);
}

/**
 * out = the first `bytes` bytes of the key stream.
 * @param key 32 bytes
 * @param bytes a multiple of 256
 */
export function expandRandom(key: usize, nonceLow: i32, nonceHigh: i32, out: usize, bytes: i32): void {
  assert((bytes & 255) == 0);
  let counter = i32x4(0, 1, 2, 3);
  for (const end = out + bytes; out < end; out += 256) {
    let x0 = i32x4.splat(0x61707865);
    let x1 = i32x4.splat(0x3320646e);
    let x2 = i32x4.splat(0x79622d32);
    let x3 = i32x4.splat(0x6b206574);
    let x4 = v128.load32_splat(key);
    let x5 = v128.load32_splat(key, 4);
    let x6 = v128.load32_splat(key, 8);
    let x7 = v128.load32_splat(key, 12);
    let x8 = v128.load32_splat(key, 16);
    let x9 = v128.load32_splat(key, 20);
    let x10 = v128.load32_splat(key, 24);
    let x11 = v128.load32_splat(key, 28);
    let x12 = counter;
    let x13 = i32x4.splat(nonceLow);
    let x14 = i32x4.splat(nonceHigh);
    let x15 = i32x4.splat(0);
    for (let round = 0; round < 10; round++) {
      // columns
      x0 = i32x4.add(x0, x4); x12 = rotate(v128.xor(x12, x0), 16);
      x1 = i32x4.add(x1, x5); x13 = rotate(v128.xor(x13, x1), 16);
      x2 = i32x4.add(x2, x6); x14 = rotate(v128.xor(x14, x2), 16);
      x3 = i32x4.add(x3, x7); x15 = rotate(v128.xor(x15, x3), 16);
      x8 = i32x4.add(x8, x12); x4 = rotate(v128.xor(x4, x8), 12);
      x9 = i32x4.add(x9, x13); x5 = rotate(v128.xor(x5, x9), 12);
      x10 = i32x4.add(x10, x14); x6 = rotate(v128.xor(x6, x10), 12);
      x11 = i32x4.add(x11, x15); x7 = rotate(v128.xor(x7, x11), 12);
      x0 = i32x4.add(x0, x4); x12 = rotate(v128.xor(x12, x0), 8);
      x1 = i32x4.add(x1, x5); x13 = rotate(v128.xor(x13, x1), 8);
      x2 = i32x4.add(x2, x6); x14 = rotate(v128.xor(x14, x2), 8);
      x3 = i32x4.add(x3, x7); x15 = rotate(v128.xor(x15, x3), 8);
      x8 = i32x4.add(x8, x12); x4 = rotate(v128.xor(x4, x8), 7);
      x9 = i32x4.add(x9, x13); x5 = rotate(v128.xor(x5, x9), 7);
      x10 = i32x4.add(x10, x14); x6 = rotate(v128.xor(x6, x10), 7);
      x11 = i32x4.add(x11, x15); x7 = rotate(v128.xor(x7, x11), 7);
      // diagonals
      x0 = i32x4.add(x0, x5); x15 = rotate(v128.xor(x15, x0), 16);
      x1 = i32x4.add(x1, x6); x12 = rotate(v128.xor(x12, x1), 16);
      x2 = i32x4.add(x2, x7); x13 = rotate(v128.xor(x13, x2), 16);
      x3 = i32x4.add(x3, x4); x14 = rotate(v128.xor(x14, x3), 16);
      x10 = i32x4.add(x10, x15); x5 = rotate(v128.xor(x5, x10), 12);
      x11 = i32x4.add(x11, x12); x6 = rotate(v128.xor(x6, x11), 12);
      x8 = i32x4.add(x8, x13); x7 = rotate(v128.xor(x7, x8), 12);
      x9 = i32x4.add(x9, x14); x4 = rotate(v128.xor(x4, x9), 12);
      x0 = i32x4.add(x0, x5); x15 = rotate(v128.xor(x15, x0), 8);
      x1 = i32x4.add(x1, x6); x12 = rotate(v128.xor(x12, x1), 8);
      x2 = i32x4.add(x2, x7); x13 = rotate(v128.xor(x13, x2), 8);
      x3 = i32x4.add(x3, x4); x14 = rotate(v128.xor(x14, x3), 8);
      x10 = i32x4.add(x10, x15); x5 = rotate(v128.xor(x5, x10), 7);
      x11 = i32x4.add(x11, x12); x6 = rotate(v128.xor(x6, x11), 7);
      x8 = i32x4.add(x8, x13); x7 = rotate(v128.xor(x7, x8), 7);
      x9 = i32x4.add(x9, x14); x4 = rotate(v128.xor(x4, x9), 7);
    }
    storeWords(
      out,
      i32x4.add(x0, i32x4.splat(0x61707865)),
      i32x4.add(x1, i32x4.splat(0x3320646e)),
      i32x4.add(x2, i32x4.splat(0x79622d32)),
      i32x4.add(x3, i32x4.splat(0x6b206574)),
    );
    storeWords(
      out + 16,
      i32x4.add(x4, v128.load32_splat(key)),
      i32x4.add(x5, v128.load32_splat(key, 4)),
      i32x4.add(x6, v128.load32_splat(key, 8)),
      i32x4.add(x7, v128.load32_splat(key, 12)),
    );
    storeWords(
      out + 32,
      i32x4.add(x8, v128.load32_splat(key, 16)),
      i32x4.add(x9, v128.load32_splat(key, 20)),
      i32x4.add(x10, v128.load32_splat(key, 24)),
      i32x4.add(x11, v128.load32_splat(key, 28)),
    );
    storeWords(
      out + 48,
      i32x4.add(x12, counter),
      i32x4.add(x13, i32x4.splat(nonceLow)),
      i32x4.add(x14, i32x4.splat(nonceHigh)),
      x15,
    );
    counter = i32x4.add(counter, i32x4.splat(4));
  }
}
