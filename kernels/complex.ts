// Products of complex numbers, two at a time: real parts in one vector, imaginary parts in another.

/** The real part of (a + ib)(w + iv). */
// @ts-ignore: decorator
@inline
export function productRe(a: v128, b: v128, w: v128, v: v128): v128 {
  return f64x2.sub(f64x2.mul(a, w), f64x2.mul(b, v));
}

/** Its imaginary part. */
// @ts-ignore: decorator
@inline
export function productIm(a: v128, b: v128, w: v128, v: v128): v128 {
  return f64x2.add(f64x2.mul(a, v), f64x2.mul(b, w));
}

/** The real part of (a + ib)(w - iv). */
// @ts-ignore: decorator
@inline
export function conjugateRe(a: v128, b: v128, w: v128, v: v128): v128 {
  return f64x2.add(f64x2.mul(a, w), f64x2.mul(b, v));
}

/** Its imaginary part. */
// @ts-ignore: decorator
@inline
export function conjugateIm(a: v128, b: v128, w: v128, v: v128): v128 {
  return f64x2.sub(f64x2.mul(b, w), f64x2.mul(a, v));
}
