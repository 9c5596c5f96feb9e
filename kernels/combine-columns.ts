/**
 * out[t][i] = [out[t][i] +] Σ_r factors[t][r]·columns[r][i], in f32, column by column in order; a sum that is not finite
 * becomes 0 (docs/security.md, rule 6), without a branch. Reading the columns is what one vector costs: those of a model
 * are read for each token, far more than caches hold. So they are binary16, and lie in the order in which they are read.
 * @param columns u16[length / 16][count][16], finite @param length a multiple of 16
 * @param factors f32[vectors][count] @param out f32[vectors][length]
 * @param add −1: to what out holds; 0: out is only written
 */
export function combineColumns(
  columns: usize,
  count: i32,
  length: i32,
  factors: usize,
  vectors: i32,
  out: usize,
  add: i32,
): void {
  if (!ASC_NO_ASSERT) assert(length % 16 == 0 && (add == 0 || add == -1));
  const kept = i32x4.splat(add);
  const toNext = <usize>count * 4;
  let left = vectors;
  for (; left >= 4; left -= 4, factors += 4 * toNext, out += <usize>length * 16)
    combineFour(columns, count, length, factors, toNext, out, kept);
  for (; left > 0; left--, factors += toNext, out += <usize>length * 4)
    combineOne(columns, count, length, factors, out, kept);
}

function combineOne(columns: usize, count: i32, length: i32, factors: usize, out: usize, kept: v128): void {
  const last = factors + <usize>count * 4;
  let column = columns;
  for (const end = out + <usize>length * 4; out < end; out += 64) {
    let a = v128.and(kept, v128.load(out));
    let b = v128.and(kept, v128.load(out, 16));
    let c = v128.and(kept, v128.load(out, 32));
    let d = v128.and(kept, v128.load(out, 48));
    for (let factor = factors; factor < last; factor += 4, column += 32) {
      const y = v128.load32_splat(factor);
      a = f32x4.add(a, f32x4.mul(y, fourAt(column)));
      b = f32x4.add(b, f32x4.mul(y, fourAt(column + 8)));
      c = f32x4.add(c, f32x4.mul(y, fourAt(column + 16)));
      d = f32x4.add(d, f32x4.mul(y, fourAt(column + 24)));
    }
    v128.store(out, finite(a));
    v128.store(out, finite(b), 16);
    v128.store(out, finite(c), 32);
    v128.store(out, finite(d), 48);
  }
}

/** Four vectors at a time: columns are widened once for them. */
function combineFour(
  columns: usize,
  count: i32,
  length: i32,
  factors: usize,
  toNext: usize,
  out: usize,
  kept: v128,
): void {
  const row = <usize>length * 4;
  const last = factors + <usize>count * 4;
  const factors3 = 3 * toNext;
  for (let first = 0; first < length; first += 8, out += 32) {
    // The first or the second half of a tile.
    let column = columns + <usize>(first & ~15) * count * 2 + <usize>(first & 8) * 2;
    const out1 = out + row;
    const out2 = out1 + row;
    const out3 = out2 + row;
    let a0 = v128.and(kept, v128.load(out));
    let b0 = v128.and(kept, v128.load(out, 16));
    let a1 = v128.and(kept, v128.load(out1));
    let b1 = v128.and(kept, v128.load(out1, 16));
    let a2 = v128.and(kept, v128.load(out2));
    let b2 = v128.and(kept, v128.load(out2, 16));
    let a3 = v128.and(kept, v128.load(out3));
    let b3 = v128.and(kept, v128.load(out3, 16));
    for (let factor = factors; factor < last; factor += 4, column += 32) {
      const a = fourAt(column);
      const b = fourAt(column + 8);
      let y = v128.load32_splat(factor);
      a0 = f32x4.add(a0, f32x4.mul(y, a));
      b0 = f32x4.add(b0, f32x4.mul(y, b));
      y = v128.load32_splat(factor + toNext);
      a1 = f32x4.add(a1, f32x4.mul(y, a));
      b1 = f32x4.add(b1, f32x4.mul(y, b));
      y = v128.load32_splat(factor + 2 * toNext);
      a2 = f32x4.add(a2, f32x4.mul(y, a));
      b2 = f32x4.add(b2, f32x4.mul(y, b));
      y = v128.load32_splat(factor + factors3);
      a3 = f32x4.add(a3, f32x4.mul(y, a));
      b3 = f32x4.add(b3, f32x4.mul(y, b));
    }
    v128.store(out, finite(a0));
    v128.store(out, finite(b0), 16);
    v128.store(out1, finite(a1));
    v128.store(out1, finite(b1), 16);
    v128.store(out2, finite(a2));
    v128.store(out2, finite(b2), 16);
    v128.store(out3, finite(a3));
    v128.store(out3, finite(b3), 16);
  }
}

/**
 * f32 of four binary16 numbers. With sign, exponent and fraction moved to their places, the exponent's bias is 15 instead
 * of 127: times 2^112, which is exact for subnormal numbers too.
 */
// @ts-ignore: decorator
@inline
function fourAt(halves: usize): v128 {
  const extended = v128.load_ext<i16>(halves);
  const moved = v128.and(i32x4.shl(extended, 13), i32x4.splat(0x8fffe000));
  return f32x4.mul(moved, f32x4.splat(<f32>5192296858534827628530496329220096.0));
}

/** v − v is 0 exactly where v is finite. */
// @ts-ignore: decorator
@inline
function finite(v: v128): v128 {
  return v128.and(v, f32x4.eq(f32x4.sub(v, v), f32x4.splat(0)));
}
