// What one pass of fft.ts does with four numbers of a block, in two lanes.
import { conjugateIm, conjugateRe, productIm, productRe } from "./complex";

/**
 * Two blocks' four numbers, x + iy, cut, to `out`, `step` bytes apart; (w, v) are the parts of ζ², ζ and ζ³.
 * @param real whether all y are 0
 */
// @ts-ignore: decorator
@inline
export function cut(
  x0: v128, y0: v128, x1: v128, y1: v128, x2: v128, y2: v128, x3: v128, y3: v128,
  w2: v128, v2: v128, w1: v128, v1: v128, w3: v128, v3: v128, real: bool, out: usize, step: usize,
): void {
  const bx = real ? f64x2.mul(x2, w2) : productRe(x2, y2, w2, v2);
  const by = real ? f64x2.mul(x2, v2) : productIm(x2, y2, w2, v2);
  const sx = f64x2.add(x0, bx);
  const sy = real ? by : f64x2.add(y0, by);
  const dx = f64x2.sub(x0, bx);
  const dy = real ? f64x2.neg(by) : f64x2.sub(y0, by);
  const cx = real ? f64x2.mul(x1, w1) : productRe(x1, y1, w1, v1);
  const cy = real ? f64x2.mul(x1, v1) : productIm(x1, y1, w1, v1);
  const gx = real ? f64x2.mul(x3, w3) : productRe(x3, y3, w3, v3);
  const gy = real ? f64x2.mul(x3, v3) : productIm(x3, y3, w3, v3);
  const ex = f64x2.add(cx, gx);
  const ey = f64x2.add(cy, gy);
  const fx = f64x2.sub(gy, cy);
  const fy = f64x2.sub(cx, gx);
  v128.store(out, f64x2.add(sx, ex));
  v128.store(out, f64x2.add(sy, ey), 16);
  v128.store(out + step, f64x2.sub(sx, ex));
  v128.store(out + step, f64x2.sub(sy, ey), 16);
  v128.store(out + 2 * step, f64x2.add(dx, fx));
  v128.store(out + 2 * step, f64x2.add(dy, fy), 16);
  v128.store(out + 3 * step, f64x2.sub(dx, fx));
  v128.store(out + 3 * step, f64x2.sub(dy, fy), 16);
}

/** The opposite of cut, 4 times as large. */
// @ts-ignore: decorator
@inline
export function join(
  x0: v128, y0: v128, x1: v128, y1: v128, x2: v128, y2: v128, x3: v128, y3: v128,
  w2: v128, v2: v128, w1: v128, v1: v128, w3: v128, v3: v128, out: usize, step: usize,
): void {
  const sx = f64x2.add(x0, x1);
  const sy = f64x2.add(y0, y1);
  const ex = f64x2.sub(x0, x1);
  const ey = f64x2.sub(y0, y1);
  const dx = f64x2.add(x2, x3);
  const dy = f64x2.add(y2, y3);
  const fx = f64x2.sub(x2, x3);
  const fy = f64x2.sub(y2, y3);
  v128.store(out, f64x2.add(sx, dx));
  v128.store(out, f64x2.add(sy, dy), 16);
  const bx = f64x2.sub(sx, dx);
  const by = f64x2.sub(sy, dy);
  v128.store(out + 2 * step, conjugateRe(bx, by, w2, v2));
  v128.store(out + 2 * step, conjugateIm(bx, by, w2, v2), 16);
  // e - i·f and e + i·f
  const cx = f64x2.add(ex, fy);
  const cy = f64x2.sub(ey, fx);
  v128.store(out + step, conjugateRe(cx, cy, w1, v1));
  v128.store(out + step, conjugateIm(cx, cy, w1, v1), 16);
  const gx = f64x2.sub(ex, fy);
  const gy = f64x2.add(ey, fx);
  v128.store(out + 3 * step, conjugateRe(gx, gy, w3, v3));
  v128.store(out + 3 * step, conjugateIm(gx, gy, w3, v3), 16);
}
