// The transform that turns products modulo X^N + 1 into products of numbers, in f64. N = 2048.
//
// X^N + 1 = (X^(N/2) - i)(X^(N/2) + i), and real polynomials modulo the one factor are the conjugates of those modulo the
// other. So a polynomial x is N/2 complex numbers, x_j + i·x_(j+N/2), modulo X^(N/2) - i. A pass cuts each block, a
// polynomial modulo X^4m - ζ^4, into four, modulo X^m - ζ, X^m + ζ, X^m - iζ and X^m + iζ:
//
//   s = x_0 + ζ²·x_2,  d = x_0 - ζ²·x_2,  e = ζ·x_1 + ζ³·x_3,  f = i(ζ·x_1 - ζ³·x_3)   →   s + e, s - e, d + f, d - f
//
// for coefficients x_0 to x_3 m apart. Five passes, of strides m = 256, 64, 16, 4 and 1, leave 1024 blocks of one number
// each: the spectrum. The passes back undo it in the opposite order, without the factor 1/4: public elements carry
// 1/1024.
//
// Vectors are pairs: 32 bytes hold the real parts of two neighbours, then their imaginary parts. In the pass of
// stride 1 the two lanes belong to two blocks instead. A spectrum has the order in which that pass leaves it: only
// products of spectra read it.
//
// Rounding: docs/parameters.md, *Products in floating point*. No value is ever subnormal, so time does not depend on values.
import { productIm, productRe } from "./complex";
import { cut, join } from "./fft-blocks";
import { RING_DEGREE, ROOT_BYTES, ROOT_PAIRS, ROOTS, SPECTRUM_BYTES, SUM, WORK } from "./memory";

/** Roots of the passes with 4, 16 and 64 blocks. */
const ROOTS_4: usize = ROOTS + ROOT_BYTES;
const ROOTS_16: usize = ROOTS_4 + 4 * ROOT_BYTES;
const ROOTS_64: usize = ROOTS_16 + 16 * ROOT_BYTES;

/** Bytes between coefficients 256 apart. */
const QUARTER: usize = SPECTRUM_BYTES / 4;

/** Cuts `blocks` blocks at x, or joins as many. @param step bytes of a quarter of a block */
// @ts-ignore: decorator
@inline
function pass(forward: bool, x: usize, blocks: i32, roots: usize, step: usize): void {
  for (let block = 0; block < blocks; block++, roots += ROOT_BYTES) {
    const w2 = v128.load64_splat(roots);
    const v2 = v128.load64_splat(roots, 8);
    const w1 = v128.load64_splat(roots, 16);
    const v1 = v128.load64_splat(roots, 24);
    const w3 = v128.load64_splat(roots, 32);
    const v3 = v128.load64_splat(roots, 40);
    for (const end = x + step; x < end; x += 32) {
      const x0 = v128.load(x);
      const y0 = v128.load(x, 16);
      const x1 = v128.load(x + step);
      const y1 = v128.load(x + step, 16);
      const x2 = v128.load(x + 2 * step);
      const y2 = v128.load(x + 2 * step, 16);
      const x3 = v128.load(x + 3 * step);
      const y3 = v128.load(x + 3 * step, 16);
      if (forward) cut(x0, y0, x1, y1, x2, y2, x3, y3, w2, v2, w1, v1, w3, v3, false, x, step);
      else join(x0, y0, x1, y1, x2, y2, x3, y3, w2, v2, w1, v1, w3, v3, x, step);
    }
    x += 3 * step;
  }
}

/** Four integers as i32. */
// @ts-ignore: decorator
@inline
function loadFour<T>(at: usize): v128 {
  if (sizeof<T>() == 4) return v128.load(at);
  if (sizeof<T>() == 2) return v128.load16x4_s(at);
  return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at)));
}

// @ts-ignore: decorator
@inline
function lowHalf(x: v128): v128 {
  return f64x2.convert_low_i32x4_s(x);
}

// @ts-ignore: decorator
@inline
function highHalf(x: v128): v128 {
  return f64x2.convert_low_i32x4_s(v128.shuffle<i32>(x, x, 2, 3, 2, 3));
}

/** The pass of stride 256, of integers. @param real whether those from N/2 on are 0 */
// @ts-ignore: decorator
@inline
function firstPass<T>(from: usize, x: usize, real: bool): void {
  const w2 = v128.load64_splat(ROOTS);
  const v2 = v128.load64_splat(ROOTS, 8);
  const w1 = v128.load64_splat(ROOTS, 16);
  const v1 = v128.load64_splat(ROOTS, 24);
  const w3 = v128.load64_splat(ROOTS, 32);
  const v3 = v128.load64_splat(ROOTS, 40);
  const quarter: usize = 256 * sizeof<T>();
  const zero = i32x4.splat(0);
  for (const end = x + QUARTER; x < end; x += 64, from += 4 * sizeof<T>()) {
    const x0 = loadFour<T>(from);
    const x1 = loadFour<T>(from + quarter);
    const x2 = loadFour<T>(from + 2 * quarter);
    const x3 = loadFour<T>(from + 3 * quarter);
    const y0 = real ? zero : loadFour<T>(from + 4 * quarter);
    const y1 = real ? zero : loadFour<T>(from + 5 * quarter);
    const y2 = real ? zero : loadFour<T>(from + 6 * quarter);
    const y3 = real ? zero : loadFour<T>(from + 7 * quarter);
    cut(
      lowHalf(x0), lowHalf(y0), lowHalf(x1), lowHalf(y1), lowHalf(x2), lowHalf(y2), lowHalf(x3), lowHalf(y3),
      w2, v2, w1, v1, w3, v3, real, x, QUARTER,
    );
    cut(
      highHalf(x0), highHalf(y0), highHalf(x1), highHalf(y1), highHalf(x2), highHalf(y2), highHalf(x3), highHalf(y3),
      w2, v2, w1, v1, w3, v3, real, x + 32, QUARTER,
    );
  }
}

/** The same of 256 integers and zeros: all four blocks begin as they are. */
// @ts-ignore: decorator
@inline
function firstPassOfQuarter<T>(from: usize, x: usize): void {
  const zero = f64x2.splat(0);
  for (const end = x + QUARTER; x < end; x += 64, from += 4 * sizeof<T>()) {
    const four = loadFour<T>(from);
    const low = lowHalf(four);
    const high = highHalf(four);
    for (let to = x; to < x + SPECTRUM_BYTES; to += QUARTER) {
      v128.store(to, low);
      v128.store(to, zero, 16);
      v128.store(to, high, 32);
      v128.store(to, zero, 48);
    }
  }
}

/**
 * All passes but the last: integers, zeros from `count` on, to WORK. What is skipped depends on `count` alone.
 * @param from T[N]
 */
// @ts-ignore: decorator
@inline
export function beginForward<T>(from: usize, count: i32): void {
  if (count <= 256) firstPassOfQuarter<T>(from, WORK);
  else if (count <= <i32>RING_DEGREE / 2) firstPass<T>(from, WORK, true);
  else firstPass<T>(from, WORK, false);
  pass(true, WORK, 4, ROOTS_4, QUARTER / 4);
  pass(true, WORK, 16, ROOTS_16, QUARTER / 16);
  pass(true, WORK, 64, ROOTS_64, QUARTER / 64);
}

/**
 * The last pass of beginForward's, the product with a spectrum, a sum, and the first pass back, as far as they are wanted, at x:
 * 128 bytes, two blocks, at a time.
 * @param forward whether x has been through beginForward; else it is a spectrum
 * @param factor a spectrum, or 0: no product
 * @param sum what is added, if `added`, and where the spectrum goes, unless it is turned back
 * @param inverse to WORK, else the spectrum to `sum`
 */
// @ts-ignore: decorator
@inline
export function turn(x: usize, forward: bool, factor: usize, sum: usize, added: bool, inverse: bool): void {
  let roots = ROOT_PAIRS;
  let to = inverse ? WORK : sum;
  for (const end = x + SPECTRUM_BYTES; x < end; x += 128, to += 128, roots += 2 * ROOT_BYTES) {
    const w2 = v128.load(roots);
    const v2 = v128.load(roots, 16);
    const w1 = v128.load(roots, 32);
    const v1 = v128.load(roots, 48);
    const w3 = v128.load(roots, 64);
    const v3 = v128.load(roots, 80);
    // What is added stands where the spectrum goes: until it is read, the numbers stay where they were.
    const numbers = forward && factor == 0 ? to : x;
    if (forward) {
      // The first block's numbers are pairs 0 and 1, the second's 2 and 3: one block to each lane.
      const a0 = v128.load(x);
      const b0 = v128.load(x, 16);
      const a1 = v128.load(x, 32);
      const b1 = v128.load(x, 48);
      const a2 = v128.load(x, 64);
      const b2 = v128.load(x, 80);
      const a3 = v128.load(x, 96);
      const b3 = v128.load(x, 112);
      cut(
        v128.shuffle<i64>(a0, a2, 0, 2), v128.shuffle<i64>(b0, b2, 0, 2),
        v128.shuffle<i64>(a0, a2, 1, 3), v128.shuffle<i64>(b0, b2, 1, 3),
        v128.shuffle<i64>(a1, a3, 0, 2), v128.shuffle<i64>(b1, b3, 0, 2),
        v128.shuffle<i64>(a1, a3, 1, 3), v128.shuffle<i64>(b1, b3, 1, 3),
        w2, v2, w1, v1, w3, v3, false, numbers, 32,
      );
    }
    if (factor) {
      for (let k: usize = 0; k < 128; k += 32) {
        const a = v128.load(numbers + k);
        const b = v128.load(numbers + k, 16);
        const w = v128.load(factor + k);
        const v = v128.load(factor + k, 16);
        let re = productRe(a, b, w, v);
        let im = productIm(a, b, w, v);
        if (added) {
          re = f64x2.add(re, v128.load(sum + k));
          im = f64x2.add(im, v128.load(sum + k, 16));
        }
        v128.store(to + k, re);
        v128.store(to + k, im, 16);
      }
      factor += 128;
      sum += 128;
    }
    if (inverse) {
      join(
        v128.load(to), v128.load(to, 16), v128.load(to, 32), v128.load(to, 48),
        v128.load(to, 64), v128.load(to, 80), v128.load(to, 96), v128.load(to, 112),
        w2, v2, w1, v1, w3, v3, to, 32,
      );
      const a0 = v128.load(to);
      const b0 = v128.load(to, 16);
      const a1 = v128.load(to, 32);
      const b1 = v128.load(to, 48);
      const a2 = v128.load(to, 64);
      const b2 = v128.load(to, 80);
      const a3 = v128.load(to, 96);
      const b3 = v128.load(to, 112);
      v128.store(to, v128.shuffle<i64>(a0, a1, 0, 2));
      v128.store(to, v128.shuffle<i64>(b0, b1, 0, 2), 16);
      v128.store(to, v128.shuffle<i64>(a2, a3, 0, 2), 32);
      v128.store(to, v128.shuffle<i64>(b2, b3, 0, 2), 48);
      v128.store(to, v128.shuffle<i64>(a0, a1, 1, 3), 64);
      v128.store(to, v128.shuffle<i64>(b0, b1, 1, 3), 80);
      v128.store(to, v128.shuffle<i64>(a2, a3, 1, 3), 96);
      v128.store(to, v128.shuffle<i64>(b2, b3, 1, 3), 112);
    }
  }
}

/** 1.5·2^52: a number below 2^51 in absolute value, added to it, is rounded to an integer, and stands in its low bits. */
const ROUNDER: f64 = 6755399441055744;

/** The integers next to four numbers, mod 2^32. */
// @ts-ignore: decorator
@inline
function nearestFour(a: v128, b: v128): v128 {
  const rounder = f64x2.splat(ROUNDER);
  if (!ASC_NO_ASSERT) {
    assertNearInteger(a);
    assertNearInteger(b);
  }
  return v128.shuffle<i32>(f64x2.add(a, rounder), f64x2.add(b, rounder), 0, 2, 4, 6);
}

/** Debug builds only: what is rounded away is the error of the transforms, so that a large one would be a wrong integer. */
function assertNearInteger(x: v128): void {
  const off = f64x2.abs(f64x2.sub(x, f64x2.nearest(x)));
  assert(i64x2.all_true(f64x2.lt(off, f64x2.splat(0.25))));
  assert(i64x2.all_true(f64x2.lt(f64x2.abs(x), f64x2.splat(2251799813685248))));
}

/** The passes back that turn has not done: WORK → the N coefficients, rounded to integers mod 2^32, i32[N] at SUM. */
export function finishInverse(): void {
  pass(false, WORK, 64, ROOTS_64, QUARTER / 64);
  pass(false, WORK, 16, ROOTS_16, QUARTER / 16);
  pass(false, WORK, 4, ROOTS_4, QUARTER / 4);
  pass(false, WORK, 1, ROOTS, QUARTER);
  let x = WORK;
  for (let i: usize = 0; i < RING_DEGREE * 2; i += 16, x += 64) {
    v128.store(SUM + i, nearestFour(v128.load(x), v128.load(x, 32)));
    v128.store(SUM + i, nearestFour(v128.load(x, 16), v128.load(x, 48)), RING_DEGREE * 2);
  }
}
