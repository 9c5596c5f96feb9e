// Inner products of rows of small integers with rows of words, modulo 2^32: the provider's answer and H·s.
//
// A word is lo + 2^16·hi with 16-bit halves; i32x4.dot_i16x8_s multiplies and adds 8 pairs of 16-bit integers, and
// its wrapping sums are exact mod 2^32.

/** Entries of a row done at a time: 2 plane rows and 2 small rows of a block take 24 KiB. */
const BLOCK: usize = 2048;
/** Small rows that stay in the second-level cache while the plane rows go by: 64 · 4 KiB. */
const SMALL_ROWS: usize = 64;

// @ts-ignore: decorator
@inline
function sum(x: v128): i32 {
  const two = i32x4.add(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return i32x4.extract_lane(two, 0) + i32x4.extract_lane(two, 1);
}

// @ts-ignore: decorator
@inline
function accumulate(at: usize, lo: v128, hi: v128): void {
  store<i32>(at, load<i32>(at) + sum(i32x4.add(lo, i32x4.shl(hi, 16))));
}

// @ts-ignore: decorator
@inline
function multiplyAdd(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

/** Eight small integers, i16 or i8, as i16; `k` counts bytes of a plane. */
// @ts-ignore: decorator
@inline
function eight<T>(small: usize, k: usize): v128 {
  return sizeof<T>() == 1 ? v128.load8x8_s(small + (k >> 1)) : v128.load(small + k);
}

/** Two small rows, two plane rows; `row` is the byte distance between plane rows, `bytes` what is done of each. */
function tile2x2<T>(
  lo: usize, hi: usize, small: usize, row: usize, bytes: usize, out: usize, planeStride: usize, smallStride: usize,
): void {
  let l00 = i32x4.splat(0), l01 = l00, l10 = l00, l11 = l00;
  let h00 = l00, h01 = l00, h10 = l00, h11 = l00;
  for (let k: usize = 0; k < bytes; k += 16) {
    const s0 = eight<T>(small, k);
    const s1 = eight<T>(small, row + k);
    let x = v128.load(lo + k);
    l00 = multiplyAdd(l00, s0, x);
    l10 = multiplyAdd(l10, s1, x);
    x = v128.load(hi + k);
    h00 = multiplyAdd(h00, s0, x);
    h10 = multiplyAdd(h10, s1, x);
    x = v128.load(lo + row + k);
    l01 = multiplyAdd(l01, s0, x);
    l11 = multiplyAdd(l11, s1, x);
    x = v128.load(hi + row + k);
    h01 = multiplyAdd(h01, s0, x);
    h11 = multiplyAdd(h11, s1, x);
  }
  accumulate(out, l00, h00);
  accumulate(out + planeStride, l01, h01);
  accumulate(out + smallStride, l10, h10);
  accumulate(out + smallStride + planeStride, l11, h11);
}

/** Four small rows, one plane row. */
function tile4x1<T>(
  lo: usize, hi: usize, small: usize, row: usize, bytes: usize, out: usize, smallStride: usize,
): void {
  let l0 = i32x4.splat(0), l1 = l0, l2 = l0, l3 = l0, h0 = l0, h1 = l0, h2 = l0, h3 = l0;
  for (let k: usize = 0; k < bytes; k += 16) {
    const x = v128.load(lo + k);
    const y = v128.load(hi + k);
    let s = eight<T>(small, k);
    l0 = multiplyAdd(l0, s, x);
    h0 = multiplyAdd(h0, s, y);
    s = eight<T>(small, row + k);
    l1 = multiplyAdd(l1, s, x);
    h1 = multiplyAdd(h1, s, y);
    s = eight<T>(small, 2 * row + k);
    l2 = multiplyAdd(l2, s, x);
    h2 = multiplyAdd(h2, s, y);
    s = eight<T>(small, 3 * row + k);
    l3 = multiplyAdd(l3, s, x);
    h3 = multiplyAdd(h3, s, y);
  }
  accumulate(out, l0, h0);
  accumulate(out + smallStride, l1, h1);
  accumulate(out + 2 * smallStride, l2, h2);
  accumulate(out + 3 * smallStride, l3, h3);
}

/** One small row, one plane row. */
function tile1x1<T>(lo: usize, hi: usize, small: usize, bytes: usize, out: usize): void {
  let l0 = i32x4.splat(0), l1 = l0, h0 = l0, h1 = l0;
  for (let k: usize = 0; k < bytes; k += 32) {
    const s0 = eight<T>(small, k);
    const s1 = eight<T>(small, k + 16);
    l0 = multiplyAdd(l0, s0, v128.load(lo + k));
    h0 = multiplyAdd(h0, s0, v128.load(hi + k));
    l1 = multiplyAdd(l1, s1, v128.load(lo + k, 16));
    h1 = multiplyAdd(h1, s1, v128.load(hi + k, 16));
  }
  accumulate(out, i32x4.add(l0, l1), i32x4.add(h0, h1));
}

// @ts-ignore: decorator
@inline
function products<T>(
  lo: usize, hi: usize, planeRows: usize, small: usize, smallRows: usize, length: usize,
  out: usize, outPlaneStride: usize, outSmallStride: usize, add: bool,
): void {
  assert((length & 15) == 0);
  const row = length * 2;
  const smallRow = length * sizeof<T>();
  const planeStride = outPlaneStride * 4;
  const smallStride = outSmallStride * 4;
  for (let s: usize = 0; !add && s < smallRows; s++) {
    for (let p: usize = 0; p < planeRows; p++) store<i32>(out + s * smallStride + p * planeStride, 0);
  }
  for (let s0: usize = 0; s0 < smallRows; s0 += SMALL_ROWS) {
    const sEnd = min(smallRows, s0 + SMALL_ROWS);
    for (let k: usize = 0; k < row; k += BLOCK * 2) {
      const bytes = min(BLOCK * 2, row - k);
      const from = small + k / 2 * sizeof<T>();
      let p: usize = 0;
      for (; p + 2 <= planeRows; p += 2) {
        const at = p * row + k;
        const to = out + p * planeStride;
        let s = s0;
        for (; s + 2 <= sEnd; s += 2) {
          tile2x2<T>(lo + at, hi + at, from + s * smallRow, row, bytes, to + s * smallStride, planeStride, smallStride);
        }
        if (s < sEnd) {
          tile1x1<T>(lo + at, hi + at, from + s * smallRow, bytes, to + s * smallStride);
          tile1x1<T>(lo + at + row, hi + at + row, from + s * smallRow, bytes, to + s * smallStride + planeStride);
        }
      }
      if (p < planeRows) {
        const at = p * row + k;
        const to = out + p * planeStride;
        let s = s0;
        for (; s + 4 <= sEnd; s += 4) {
          tile4x1<T>(lo + at, hi + at, from + s * smallRow, row, bytes, to + s * smallStride, smallStride);
        }
        for (; s < sEnd; s++) tile1x1<T>(lo + at, hi + at, from + s * smallRow, bytes, to + s * smallStride);
      }
    }
  }
}

/**
 * out[s·outSmallStride + p·outPlaneStride] = [out +] Σ_k small[s][k]·(lo[p][k] + 2^16·hi[p][k]) mod 2^32. Constant time.
 * @param lo i16[planeRows][length] @param hi likewise
 * @param small i16[smallRows][length]
 * @param length a multiple of 16
 * @param out u32; strides count words @param add to what out holds
 */
export function innerProducts(
  lo: usize, hi: usize, planeRows: usize, small: usize, smallRows: usize, length: usize,
  out: usize, outPlaneStride: usize, outSmallStride: usize, add: bool,
): void {
  products<i16>(lo, hi, planeRows, small, smallRows, length, out, outPlaneStride, outSmallStride, add);
}

/** The same of small integers that fit eight bits, i8[smallRows][length]: half as much memory is read. */
export function innerProducts8(
  lo: usize, hi: usize, planeRows: usize, small: usize, smallRows: usize, length: usize,
  out: usize, outPlaneStride: usize, outSmallStride: usize, add: bool,
): void {
  products<i8>(lo, hi, planeRows, small, smallRows, length, out, outPlaneStride, outSmallStride, add);
}
