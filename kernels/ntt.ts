// The negacyclic number-theoretic transform of N = 2048 points modulo a prime p, four lanes at a time. Everything is
// inlined with p and the place of its twiddle factors as constants.
//
// Forward: Cooley-Tukey, strides 1024 … 1; inverse: Gentleman-Sande, strides 1 … 1024, N^-1 folded into the
// public element. Two levels are done per pass over memory (radix 4), the last three (stride 4, 2, 1) on 8 coefficients in two
// vectors. NTT form is bit-reversed order, in which each run of 8 stands as it falls out of the lanes: 0 2 4 6 1 3 5 7
// after the last butterfly's pairing; only pointwise products read it, so the order never matters outside this file.
//
// Lanes are signed. Forward: |x| grows by at most 5p/4 a level, 11 · 1.25 = 13.75 < 15.99: never reduced.
// Inverse: sums double, so every pass reduces the one output that is a sum of sums.
import { FORWARD_PAIRS, FORWARD_TAIL, INVERSE_PAIRS, INVERSE_TAIL, RING_DEGREE, TABLE, TABLE2 } from "./memory";
import { center, inverseOfN, mulShoup, P, P2, reduce, shoupQuotient, shoupQuotients } from "./modular";

// @ts-ignore: decorator
@inline
function forwardPass(x: usize, m: i32, stride: usize, tables: usize, p: i32): void {
  const step = stride * 4;
  for (let i = 0; i < m; i++) {
    const one = tables + FORWARD_PAIRS + (m + i) * 8;
    const two = tables + FORWARD_PAIRS + (m + i) * 16;
    const w1 = v128.load32_splat(one);
    const q1 = v128.load32_splat(one, 4);
    const w2 = v128.load32_splat(two);
    const q2 = v128.load32_splat(two, 4);
    const w3 = v128.load32_splat(two, 8);
    const q3 = v128.load32_splat(two, 12);
    const end = x + step;
    for (; x < end; x += 16) {
      const t2 = mulShoup(v128.load(x + 2 * step), w1, q1, p);
      const t3 = mulShoup(v128.load(x + 3 * step), w1, q1, p);
      const x0 = v128.load(x);
      const x1 = v128.load(x + step);
      const s0 = i32x4.add(x0, t2);
      const d0 = i32x4.sub(x0, t2);
      const s1 = mulShoup(i32x4.add(x1, t3), w2, q2, p);
      const d1 = mulShoup(i32x4.sub(x1, t3), w3, q3, p);
      v128.store(x, i32x4.add(s0, s1));
      v128.store(x + step, i32x4.sub(s0, s1));
      v128.store(x + 2 * step, i32x4.add(d0, d1));
      v128.store(x + 3 * step, i32x4.sub(d0, d1));
    }
    x += 3 * step;
  }
}

/** The same where the second half of each block of 4·stride is zero. */
// @ts-ignore: decorator
@inline
function forwardPassOfHalves(x: usize, m: i32, stride: usize, tables: usize, p: i32): void {
  const step = stride * 4;
  for (let i = 0; i < m; i++) {
    const two = tables + FORWARD_PAIRS + (m + i) * 16;
    const w2 = v128.load32_splat(two);
    const q2 = v128.load32_splat(two, 4);
    const w3 = v128.load32_splat(two, 8);
    const q3 = v128.load32_splat(two, 12);
    const end = x + step;
    for (; x < end; x += 16) {
      const x0 = v128.load(x);
      const x1 = v128.load(x + step);
      const s1 = mulShoup(x1, w2, q2, p);
      const d1 = mulShoup(x1, w3, q3, p);
      v128.store(x, i32x4.add(x0, s1));
      v128.store(x + step, i32x4.sub(x0, s1));
      v128.store(x + 2 * step, i32x4.add(x0, d1));
      v128.store(x + 3 * step, i32x4.sub(x0, d1));
    }
    x += 3 * step;
  }
}

/** Strides 4, 2 and 1 of the forward transform. */
// @ts-ignore: decorator
@inline
function forwardTail(x: usize, tables: usize, p: i32): void {
  let pair = tables + FORWARD_PAIRS + 256 * 8;
  for (let tail = tables + FORWARD_TAIL, end = tail + 256 * 64; tail < end; tail += 64) {
    const a = v128.load(x);
    const t = mulShoup(v128.load(x, 16), v128.load32_splat(pair), v128.load32_splat(pair, 4), p);
    const s = i32x4.add(a, t);
    const d = i32x4.sub(a, t);
    // s = [s0 s1 s2 s3], d = [d0 d1 d2 d3] → pairs at stride 2: [s0 s1 d0 d1], [s2 s3 d2 d3]
    const u = v128.shuffle<i32>(s, d, 0, 1, 4, 5);
    const v = mulShoup(v128.shuffle<i32>(s, d, 2, 3, 6, 7), v128.load(tail), v128.load(tail, 16), p);
    const x0 = i32x4.add(u, v);
    const x1 = i32x4.sub(u, v);
    // x0 = [s0 s1 d0 d1], x1 = [s2 s3 d2 d3] → pairs at stride 1: [s0 d0 s2 d2], [s1 d1 s3 d3]
    const even = v128.shuffle<i32>(x0, x1, 0, 2, 4, 6);
    const odd = mulShoup(v128.shuffle<i32>(x0, x1, 1, 3, 5, 7), v128.load(tail, 32), v128.load(tail, 48), p);
    v128.store(x, i32x4.add(even, odd));
    v128.store(x, i32x4.sub(even, odd), 16);
    x += 32;
    pair += 8;
  }
}

// @ts-ignore: decorator
@inline
function forwardPasses(x: usize, tables: usize, p: i32): void {
  if (!ASC_NO_ASSERT) {
    for (let i: usize = 0; i < RING_DEGREE; i++) assert(abs(load<i32>(x + i * 4)) <= 1 << 28);
  }
  forwardPass(x, 1, 512, tables, p);
  forwardPass(x, 4, 128, tables, p);
  forwardPass(x, 16, 32, tables, p);
  forwardPass(x, 64, 8, tables, p);
}

/**
 * The transform of `count` coefficients and zeros behind them, as spreadQuarters has laid them out for count ≤ N/4: the
 * first pass would only copy. What is zero depends on the layer's width alone.
 */
// @ts-ignore: decorator
@inline
function forwardPassesOf(count: i32, x: usize, tables: usize, p: i32): void {
  if (!ASC_NO_ASSERT) {
    for (let i: usize = 0; i < RING_DEGREE; i++) assert(abs(load<i32>(x + i * 4)) <= 1 << 28);
  }
  if (count <= <i32>RING_DEGREE / 8) {
    forwardPassOfHalves(x, 4, 128, tables, p);
  } else {
    if (count > <i32>RING_DEGREE / 2) forwardPass(x, 1, 512, tables, p);
    else if (count > <i32>RING_DEGREE / 4) forwardPassOfHalves(x, 1, 512, tables, p);
    forwardPass(x, 4, 128, tables, p);
  }
  forwardPass(x, 16, 32, tables, p);
  forwardPass(x, 64, 8, tables, p);
  forwardTail(x, tables, p);
}

/** NTT of x modulo P in place: i32[N] with |x| ≤ 2^28 → NTT form, any i32 congruent to the value. */
export function forwardNtt(x: usize): void {
  forwardPasses(x, TABLE, P);
  forwardTail(x, TABLE, P);
}

/** The same modulo P2. */
export function forwardNtt2(x: usize): void {
  forwardPasses(x, TABLE2, P2);
  forwardTail(x, TABLE2, P2);
}

/** sum = [sum +] x ⊙ element: in [-p/64, 1.001p]. */
// @ts-ignore: decorator
@inline
function accumulate(x: usize, element: usize, sum: usize, first: bool, p: i32): void {
  for (const end = x + RING_DEGREE * 4; x < end; x += 16, element += 16, sum += 16) {
    const product = mulShoup(v128.load(x), v128.load(element), v128.load(element, RING_DEGREE * 4), p);
    const before = first ? i32x4.splat(0) : v128.load(sum);
    v128.store(sum, reduce(i32x4.add(before, product), p));
  }
}

/**
 * NTT modulo P of `count` coefficients of at most 2^28 that spreadQuarters laid out at x, in place.
 * Any i32 congruent to the value.
 */
export function forwardOf(count: i32, x: usize): void {
  forwardPassesOf(count, x, TABLE, P);
}

/** The same modulo P2. */
export function forwardOf2(count: i32, x: usize): void {
  forwardPassesOf(count, x, TABLE2, P2);
}

/** sum = [sum +] x ⊙ element modulo P, in [-P/64, 1.001P]. @param x any i32 @param element as factorNtt made it */
export function multiplyAdd(x: usize, element: usize, sum: usize, first: bool): void {
  accumulate(x, element, sum, first, P);
}

/** The same modulo P2. */
export function multiplyAdd2(x: usize, element: usize, sum: usize, first: bool): void {
  accumulate(x, element, sum, first, P2);
}

/** a + b, a - b and so on of strides 1, 2 and 4 backwards: 8 values in NTT form, |a|, |b| ≤ 5p/4, to x. */
// @ts-ignore: decorator
@inline
function inverseBlock(a: v128, b: v128, tail: usize, pair: usize, x: usize, p: i32): void {
  const even = i32x4.add(a, b);
  const odd = mulShoup(i32x4.sub(a, b), v128.load(tail, 32), v128.load(tail, 48), p);
  const x0 = v128.shuffle<i32>(even, odd, 0, 4, 1, 5);
  const x1 = v128.shuffle<i32>(even, odd, 2, 6, 3, 7);
  const u = i32x4.add(x0, x1);
  const v = mulShoup(i32x4.sub(x0, x1), v128.load(tail), v128.load(tail, 16), p);
  const s = v128.shuffle<i32>(u, v, 0, 1, 4, 5);
  const d = v128.shuffle<i32>(u, v, 2, 3, 6, 7);
  // 5p/4 doubled three times = 10p
  v128.store(x, reduce(i32x4.add(s, d), p));
  v128.store(x, mulShoup(i32x4.sub(s, d), v128.load32_splat(pair), v128.load32_splat(pair, 4), p), 16);
}

/**
 * [x +] the pointwise products with the factors at `element` (w, then q 4·N bytes on), then strides 1, 2 and 4 backwards,
 * to x.
 */
// @ts-ignore: decorator
@inline
function productHead(element: usize, secret: usize, x: usize, first: bool, tables: usize, p: i32): void {
  let pair = tables + INVERSE_PAIRS + 256 * 8;
  for (let tail = tables + INVERSE_TAIL, end = tail + 256 * 64; tail < end; tail += 64) {
    let a = mulShoup(v128.load(secret), v128.load(element), v128.load(element, RING_DEGREE * 4), p);
    let b = mulShoup(v128.load(secret, 16), v128.load(element, 16), v128.load(element, RING_DEGREE * 4 + 16), p);
    if (!first) {
      a = reduce(i32x4.add(a, v128.load(x)), p);
      b = reduce(i32x4.add(b, v128.load(x, 16)), p);
    }
    inverseBlock(a, b, tail, pair, x, p);
    element += 32;
    secret += 32;
    x += 32;
    pair += 8;
  }
}

/** |inputs| ≤ 2.5p, |outputs| ≤ 2.5p. */
// @ts-ignore: decorator
@inline
function inversePass(x: usize, m: i32, stride: usize, tables: usize, p: i32): void {
  const step = stride * 4;
  for (let i = 0; i < m; i++) {
    const one = tables + INVERSE_PAIRS + (m + i) * 8;
    const two = tables + INVERSE_PAIRS + (m + i) * 16;
    const w1 = v128.load32_splat(one);
    const q1 = v128.load32_splat(one, 4);
    const w2 = v128.load32_splat(two);
    const q2 = v128.load32_splat(two, 4);
    const w3 = v128.load32_splat(two, 8);
    const q3 = v128.load32_splat(two, 12);
    const end = x + step;
    for (; x < end; x += 16) {
      const x0 = v128.load(x);
      const x1 = v128.load(x + step);
      const x2 = v128.load(x + 2 * step);
      const x3 = v128.load(x + 3 * step);
      const s0 = i32x4.add(x0, x1);
      const s1 = i32x4.add(x2, x3);
      const d0 = mulShoup(i32x4.sub(x0, x1), w2, q2, p);
      const d1 = mulShoup(i32x4.sub(x2, x3), w3, q3, p);
      v128.store(x, reduce(i32x4.add(s0, s1), p));
      v128.store(x + step, i32x4.add(d0, d1));
      v128.store(x + 2 * step, mulShoup(i32x4.sub(s0, s1), w1, q1, p));
      v128.store(x + 3 * step, mulShoup(i32x4.sub(d0, d1), w1, q1, p));
    }
    x += 3 * step;
  }
}

/** Strides 8 to 256 backwards. */
// @ts-ignore: decorator
@inline
function middlePasses(x: usize, tables: usize, p: i32): void {
  inversePass(x, 64, 8, tables, p);
  inversePass(x, 16, 32, tables, p);
  inversePass(x, 4, 128, tables, p);
}

const LAST_STEP: usize = 512 * 4;

/**
 * out = base + 2^shift·y mod 2^32, y in [-P/4, 5P/4) taken as the integer that it is congruent to mod P: callers bound
 * their products by 2^26 < P/2.
 */
// @ts-ignore: decorator
@inline
function addExact(y: v128, shift: i32, base: usize, out: usize): void {
  const value = center(y, P);
  assert(!v128.any_true(i32x4.gt_s(i32x4.abs(value), i32x4.splat(1 << 26))));
  v128.store(out, i32x4.add(v128.load(base), i32x4.shl(value, shift)));
}

/**
 * Strides 512 and 1024, |inputs| ≤ 2.5p. In place, outputs in [-p/4, 5p/4), natural order; if `exact`, which is for P
 * alone, out = base + 2^shift·(the exact integers) mod 2^32 instead.
 * @param whole whether the last quarter of the outputs is wanted
 */
// @ts-ignore: decorator
@inline
function lastPass(
  x: usize, tables: usize, p: i32, whole: bool, exact: bool, shift: i32, base: usize, out: usize,
): void {
  const pairs = tables + INVERSE_PAIRS;
  const w1 = v128.load32_splat(pairs, 8);
  const q1 = v128.load32_splat(pairs, 12);
  const w2 = v128.load32_splat(pairs, 16);
  const q2 = v128.load32_splat(pairs, 20);
  const w3 = v128.load32_splat(pairs, 24);
  const q3 = v128.load32_splat(pairs, 28);
  for (const end = x + LAST_STEP; x < end; x += 16) {
    const x0 = v128.load(x);
    const x1 = v128.load(x, LAST_STEP);
    const x2 = v128.load(x, 2 * LAST_STEP);
    const x3 = v128.load(x, 3 * LAST_STEP);
    const s0 = i32x4.add(x0, x1);
    const s1 = i32x4.add(x2, x3);
    const d0 = mulShoup(i32x4.sub(x0, x1), w2, q2, p);
    const d1 = mulShoup(i32x4.sub(x2, x3), w3, q3, p);
    const y0 = reduce(i32x4.add(s0, s1), p);
    const y1 = reduce(i32x4.add(d0, d1), p);
    const y2 = mulShoup(i32x4.sub(s0, s1), w1, q1, p);
    if (exact) {
      addExact(y0, shift, base, out);
      addExact(y1, shift, base + LAST_STEP, out + LAST_STEP);
      addExact(y2, shift, base + 2 * LAST_STEP, out + 2 * LAST_STEP);
    } else {
      v128.store(x, y0);
      v128.store(x, y1, LAST_STEP);
      v128.store(x, y2, 2 * LAST_STEP);
    }
    if (whole) {
      const y3 = mulShoup(i32x4.sub(d0, d1), w1, q1, p);
      if (exact) addExact(y3, shift, base + 3 * LAST_STEP, out + 3 * LAST_STEP);
      else v128.store(x, y3, 3 * LAST_STEP);
    }
    base += 16;
    out += 16;
  }
}

/**
 * out = base + 2^shift·INTT(element ⊙ secret) mod 2^32, natural order, the inverse transform being centred mod P:
 * exact when the true product is at most 2^26 in absolute value.
 * @param element N centred values w with N^-1 folded in, then their N Shoup quotients (factorNtt)
 * @param secret NTT form, any i32
 * @param scratch i32[N]
 * @param base u32[N], may be out
 */
export function multiplyInverseAdd(
  element: usize, secret: usize, scratch: usize, shift: i32, base: usize, out: usize,
): void {
  productHead(element, secret, scratch, true, TABLE, P);
  middlePasses(scratch, TABLE, P);
  lastPass(scratch, TABLE, P, true, true, shift, base, out);
}

// @ts-ignore: decorator
@inline
function inverseOf(element: usize, factor: usize, sum: usize, first: bool, count: i32, tables: usize, p: i32): void {
  if (first) productHead(element, factor, sum, true, tables, p);
  else productHead(element, factor, sum, false, tables, p);
  middlePasses(sum, tables, p);
  if (count > <i32>RING_DEGREE / 4 * 3) lastPass(sum, tables, p, true, false, 0, 0, 0);
  else lastPass(sum, tables, p, false, false, 0, 0, 0);
}

/**
 * sum = the first `count` coefficients of INTT([sum +] factor ⊙ element) modulo P, in [-P/4, 5P/4), natural order.
 * @param sum i32[N], in NTT form and in [-P/64, 1.001P] where it is added to @param factor NTT form, any i32
 * @param element as factorNtt made it
 */
export function inverseProduct(element: usize, factor: usize, sum: usize, first: bool, count: i32): void {
  inverseOf(element, factor, sum, first, count, TABLE, P);
}

/** The same modulo P2. */
export function inverseProduct2(element: usize, factor: usize, sum: usize, first: bool, count: i32): void {
  inverseOf(element, factor, sum, first, count, TABLE2, P2);
}

// @ts-ignore: decorator
@inline
function toFactors(x: usize, out: usize, p: i32): void {
  const scale = i32x4.splat(inverseOfN(p));
  const scaleQ = i32x4.splat(shoupQuotient(inverseOfN(p), p));
  for (const end = x + RING_DEGREE * 4; x < end; x += 16, out += 16) {
    const w = center(mulShoup(v128.load(x), scale, scaleQ, p), p);
    v128.store(out, w);
    v128.store(out, shoupQuotients(w, p), RING_DEGREE * 4);
  }
}

/** x: i32[N] → (w, q) at out: w = NTT(x)/N centred mod P, q its Shoup quotient. x is overwritten. */
export function factorNtt(x: usize, out: usize): void {
  forwardNtt(x);
  toFactors(x, out, P);
}

/** The same modulo P2. */
export function factorNtt2(x: usize, out: usize): void {
  forwardNtt2(x);
  toFactors(x, out, P2);
}
