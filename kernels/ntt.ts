// The negacyclic number-theoretic transform of N = 2048 points modulo p, four lanes at a time.
//
// Forward: Cooley-Tukey, strides 1024 … 1; inverse: Gentleman-Sande, strides 1 … 1024, N^-1 folded into the
// public element. Two levels are done per pass over memory (radix 4), the last three (stride 4, 2, 1) on 8 coefficients in two
// vectors. NTT form is bit-reversed order, in which each run of 8 stands as it falls out of the lanes: 0 2 4 6 1 3 5 7
// after the last butterfly's pairing; only pointwise products read it, so the order never matters outside this file.
//
// Lanes are signed. Forward: |x| grows by at most 5p/4 a level, 11 · 1.25 = 13.75 < 15.99: never reduced.
// Inverse: sums double, so every pass reduces the one output that is a sum of sums.
import { FORWARD_PAIRS, FORWARD_TAIL, INVERSE_PAIRS, INVERSE_TAIL, RING_DEGREE } from "./memory";
import { center, mulShoup, N_INVERSE, reduce, shoupQuotient, shoupQuotients } from "./modular";

// @ts-ignore: decorator
@inline
function forwardPass(x: usize, m: i32, stride: usize): void {
  const step = stride * 4;
  for (let i = 0; i < m; i++) {
    const one = FORWARD_PAIRS + (m + i) * 8;
    const two = FORWARD_PAIRS + (m + i) * 16;
    const w1 = v128.load32_splat(one);
    const q1 = v128.load32_splat(one, 4);
    const w2 = v128.load32_splat(two);
    const q2 = v128.load32_splat(two, 4);
    const w3 = v128.load32_splat(two, 8);
    const q3 = v128.load32_splat(two, 12);
    const end = x + step;
    for (; x < end; x += 16) {
      const t2 = mulShoup(v128.load(x + 2 * step), w1, q1);
      const t3 = mulShoup(v128.load(x + 3 * step), w1, q1);
      const x0 = v128.load(x);
      const x1 = v128.load(x + step);
      const s0 = i32x4.add(x0, t2);
      const d0 = i32x4.sub(x0, t2);
      const s1 = mulShoup(i32x4.add(x1, t3), w2, q2);
      const d1 = mulShoup(i32x4.sub(x1, t3), w3, q3);
      v128.store(x, i32x4.add(s0, s1));
      v128.store(x + step, i32x4.sub(s0, s1));
      v128.store(x + 2 * step, i32x4.add(d0, d1));
      v128.store(x + 3 * step, i32x4.sub(d0, d1));
    }
    x += 3 * step;
  }
}

/** Strides 4, 2 and 1 of the forward transform. */
// @ts-ignore: decorator
@inline
function forwardTail(x: usize): void {
  let pair = FORWARD_PAIRS + 256 * 8;
  for (let tail = FORWARD_TAIL, end = FORWARD_TAIL + 256 * 64; tail < end; tail += 64) {
    const a = v128.load(x);
    const t = mulShoup(v128.load(x, 16), v128.load32_splat(pair), v128.load32_splat(pair, 4));
    const s = i32x4.add(a, t);
    const d = i32x4.sub(a, t);
    // s = [s0 s1 s2 s3], d = [d0 d1 d2 d3] → pairs at stride 2: [s0 s1 d0 d1], [s2 s3 d2 d3]
    const u = v128.shuffle<i32>(s, d, 0, 1, 4, 5);
    const v = mulShoup(v128.shuffle<i32>(s, d, 2, 3, 6, 7), v128.load(tail), v128.load(tail, 16));
    const x0 = i32x4.add(u, v);
    const x1 = i32x4.sub(u, v);
    // x0 = [s0 s1 d0 d1], x1 = [s2 s3 d2 d3] → pairs at stride 1: [s0 d0 s2 d2], [s1 d1 s3 d3]
    const even = v128.shuffle<i32>(x0, x1, 0, 2, 4, 6);
    const odd = mulShoup(v128.shuffle<i32>(x0, x1, 1, 3, 5, 7), v128.load(tail, 32), v128.load(tail, 48));
    v128.store(x, i32x4.add(even, odd));
    v128.store(x, i32x4.sub(even, odd), 16);
    x += 32;
    pair += 8;
  }
}

/** NTT of x in place: i32[N] with |x| ≤ 2^28 → NTT form, any i32 congruent to the value. */
export function forwardNtt(x: usize): void {
  if (!ASC_NO_ASSERT) {
    for (let i: usize = 0; i < RING_DEGREE; i++) assert(abs(load<i32>(x + i * 4)) <= 1 << 28);
  }
  forwardPass(x, 1, 512);
  forwardPass(x, 4, 128);
  forwardPass(x, 16, 32);
  forwardPass(x, 64, 8);
  forwardTail(x);
}

/** Pointwise products with the factors at `element` (w, then q 4·N bytes on), then strides 1, 2 and 4 backwards. */
// @ts-ignore: decorator
@inline
function inverseHead(element: usize, secret: usize, x: usize): void {
  let pair = INVERSE_PAIRS + 256 * 8;
  for (let tail = INVERSE_TAIL, end = INVERSE_TAIL + 256 * 64; tail < end; tail += 64) {
    const a = mulShoup(v128.load(secret), v128.load(element), v128.load(element, RING_DEGREE * 4));
    const b = mulShoup(v128.load(secret, 16), v128.load(element, 16), v128.load(element, RING_DEGREE * 4 + 16));
    const even = i32x4.add(a, b);
    const odd = mulShoup(i32x4.sub(a, b), v128.load(tail, 32), v128.load(tail, 48));
    const x0 = v128.shuffle<i32>(even, odd, 0, 4, 1, 5);
    const x1 = v128.shuffle<i32>(even, odd, 2, 6, 3, 7);
    const u = i32x4.add(x0, x1);
    const v = mulShoup(i32x4.sub(x0, x1), v128.load(tail), v128.load(tail, 16));
    const s = v128.shuffle<i32>(u, v, 0, 1, 4, 5);
    const d = v128.shuffle<i32>(u, v, 2, 3, 6, 7);
    // 5p/4 doubled three times = 10p
    v128.store(x, reduce(i32x4.add(s, d)));
    v128.store(x, mulShoup(i32x4.sub(s, d), v128.load32_splat(pair), v128.load32_splat(pair, 4)), 16);
    element += 32;
    secret += 32;
    x += 32;
    pair += 8;
  }
}

/** |inputs| ≤ 2.5p, |outputs| ≤ 2.5p. */
// @ts-ignore: decorator
@inline
function inversePass(x: usize, m: i32, stride: usize): void {
  const step = stride * 4;
  for (let i = 0; i < m; i++) {
    const one = INVERSE_PAIRS + (m + i) * 8;
    const two = INVERSE_PAIRS + (m + i) * 16;
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
      const d0 = mulShoup(i32x4.sub(x0, x1), w2, q2);
      const d1 = mulShoup(i32x4.sub(x2, x3), w3, q3);
      v128.store(x, reduce(i32x4.add(s0, s1)));
      v128.store(x + step, i32x4.add(d0, d1));
      v128.store(x + 2 * step, mulShoup(i32x4.sub(s0, s1), w1, q1));
      v128.store(x + 3 * step, mulShoup(i32x4.sub(d0, d1), w1, q1));
    }
    x += 3 * step;
  }
}

/** The exact integer that x ≡ r mod p stands for, r in [-p/4, 5p/4): callers bound their products by 2^26 < p/2. */
// @ts-ignore: decorator
@inline
function exact(r: v128): v128 {
  const value = center(r);
  assert(!v128.any_true(i32x4.gt_s(i32x4.abs(value), i32x4.splat(1 << 26))));
  return value;
}

/** Strides 512 and 1024, centred: out = base + 2^shift·(the exact integers) mod 2^32. |inputs| ≤ 2.5p. */
function inverseLast(x: usize, shift: i32, base: usize, out: usize): void {
  const step: usize = 512 * 4;
  const w1 = v128.load32_splat(INVERSE_PAIRS + 8);
  const q1 = v128.load32_splat(INVERSE_PAIRS + 12);
  const w2 = v128.load32_splat(INVERSE_PAIRS + 16);
  const q2 = v128.load32_splat(INVERSE_PAIRS + 20);
  const w3 = v128.load32_splat(INVERSE_PAIRS + 24);
  const q3 = v128.load32_splat(INVERSE_PAIRS + 28);
  for (const end = x + step; x < end; x += 16, base += 16, out += 16) {
    const x0 = v128.load(x);
    const x1 = v128.load(x + step);
    const x2 = v128.load(x + 2 * step);
    const x3 = v128.load(x + 3 * step);
    const s0 = i32x4.add(x0, x1);
    const s1 = i32x4.add(x2, x3);
    const d0 = mulShoup(i32x4.sub(x0, x1), w2, q2);
    const d1 = mulShoup(i32x4.sub(x2, x3), w3, q3);
    const y0 = exact(reduce(i32x4.add(s0, s1)));
    const y1 = exact(reduce(i32x4.add(d0, d1)));
    const y2 = exact(mulShoup(i32x4.sub(s0, s1), w1, q1));
    const y3 = exact(mulShoup(i32x4.sub(d0, d1), w1, q1));
    v128.store(out, i32x4.add(v128.load(base), i32x4.shl(y0, shift)));
    v128.store(out + step, i32x4.add(v128.load(base + step), i32x4.shl(y1, shift)));
    v128.store(out + 2 * step, i32x4.add(v128.load(base + 2 * step), i32x4.shl(y2, shift)));
    v128.store(out + 3 * step, i32x4.add(v128.load(base + 3 * step), i32x4.shl(y3, shift)));
  }
}

/**
 * out = base + 2^shift·INTT(element ⊙ secret) mod 2^32, natural order, the inverse transform being centred mod p:
 * exact when the true product is at most 2^26 in absolute value.
 * @param element N centred values w with N^-1 folded in, then their N Shoup quotients (factorNtt)
 * @param secret NTT form, any i32
 * @param scratch i32[N]
 * @param base u32[N], may be out
 */
export function multiplyInverseAdd(
  element: usize, secret: usize, scratch: usize, shift: i32, base: usize, out: usize,
): void {
  inverseHead(element, secret, scratch);
  inversePass(scratch, 64, 8);
  inversePass(scratch, 16, 32);
  inversePass(scratch, 4, 128);
  inverseLast(scratch, shift, base, out);
}

/** x: i32[N] → (w, q) at out: w = NTT(x)/N centred mod p, q its Shoup quotient. x is overwritten. */
export function factorNtt(x: usize, out: usize): void {
  forwardNtt(x);
  const scale = i32x4.splat(N_INVERSE);
  const scaleQ = i32x4.splat(shoupQuotient(N_INVERSE));
  for (const end = x + RING_DEGREE * 4; x < end; x += 16, out += 16) {
    const w = center(mulShoup(v128.load(x), scale, scaleQ));
    v128.store(out, w);
    v128.store(out, shoupQuotients(w), RING_DEGREE * 4);
  }
}
