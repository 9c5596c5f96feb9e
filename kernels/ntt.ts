// The negacyclic number-theoretic transform of N = 2048 points modulo p, four lanes at a time.
//
// Forward: Cooley-Tukey, strides 1024 … 1; inverse: Gentleman-Sande, strides 1 … 1024, N^-1 folded into the last
// pass. Two levels are done per pass over memory (radix 4), the last three (stride 4, 2, 1) on 8 coefficients in two
// vectors. NTT form is bit-reversed order, in which each run of 8 stands as it falls out of the lanes: 0 2 4 6 1 3 5 7
// after the last butterfly's pairing; only pointwise products read it, so the order never matters outside this file.
//
// Lanes are signed. Forward: |x| grows by at most 5p/4 a level, 11 · 1.25 = 13.75 < 15.99: never reduced.
// Inverse: sums double, so every pass reduces the one output that is a sum of sums.
import { FORWARD_PAIRS, FORWARD_TAIL, INVERSE_PAIRS, INVERSE_TAIL, RING_DEGREE } from "./memory";
import { center, centerScalar, mulShoup, N_INVERSE, P, reduce, shoupQuotient, shoupQuotients } from "./modular";

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

/** Strides 512 and 1024, times N^-1, centred: the exact integers. */
// @ts-ignore: decorator
@inline
function inverseLast(x: usize): void {
  const step: usize = 512 * 4;
  const scaled = centerScalar(<i64>load<i32>(INVERSE_PAIRS + 8) * N_INVERSE);
  const w1 = i32x4.splat(scaled);
  const q1 = i32x4.splat(shoupQuotient(scaled));
  const w0 = i32x4.splat(N_INVERSE);
  const q0 = i32x4.splat(shoupQuotient(N_INVERSE));
  const w2 = v128.load32_splat(INVERSE_PAIRS + 16);
  const q2 = v128.load32_splat(INVERSE_PAIRS + 20);
  const w3 = v128.load32_splat(INVERSE_PAIRS + 24);
  const q3 = v128.load32_splat(INVERSE_PAIRS + 28);
  for (const end = x + step; x < end; x += 16) {
    const x0 = v128.load(x);
    const x1 = v128.load(x + step);
    const x2 = v128.load(x + 2 * step);
    const x3 = v128.load(x + 3 * step);
    const s0 = i32x4.add(x0, x1);
    const s1 = i32x4.add(x2, x3);
    const d0 = mulShoup(i32x4.sub(x0, x1), w2, q2);
    const d1 = mulShoup(i32x4.sub(x2, x3), w3, q3);
    v128.store(x, center(mulShoup(i32x4.add(s0, s1), w0, q0)));
    v128.store(x + step, center(mulShoup(i32x4.add(d0, d1), w0, q0)));
    v128.store(x + 2 * step, center(mulShoup(i32x4.sub(s0, s1), w1, q1)));
    v128.store(x + 3 * step, center(mulShoup(i32x4.sub(d0, d1), w1, q1)));
  }
}

/**
 * x = INTT(element ⊙ secret): i32[N] centred mod p, natural order. Exact when the true product is at most
 * (p - 1)/2 in absolute value.
 * @param element N centred values w, then their N Shoup quotients
 * @param secret NTT form, any i32
 */
export function multiplyInverse(element: usize, secret: usize, x: usize): void {
  inverseHead(element, secret, x);
  inversePass(x, 64, 8);
  inversePass(x, 16, 32);
  inversePass(x, 4, 128);
  inverseLast(x);
  if (!ASC_NO_ASSERT) {
    // every caller bounds its products by 2^26
    for (let i: usize = 0; i < RING_DEGREE; i++) assert(abs(load<i32>(x + i * 4)) <= 1 << 26);
  }
}

/** x: i32[N] → (w, q) of its NTT at out: w centred mod p, q its Shoup quotient. x is overwritten. */
export function factorNtt(x: usize, out: usize): void {
  forwardNtt(x);
  const one = i32x4.splat(1);
  const oneQ = i32x4.splat(<i32>(4294967296.0 / <f64>P + 0.5));
  for (const end = x + RING_DEGREE * 4; x < end; x += 16, out += 16) {
    const w = center(mulShoup(v128.load(x), one, oneQ));
    v128.store(out, w);
    v128.store(out, shoupQuotients(w), RING_DEGREE * 4);
  }
}
