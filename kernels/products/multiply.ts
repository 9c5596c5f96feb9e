import { inBytes } from "./in-bytes";

// Rows that are done for four vectors before the next four: with x of these they stay in the nearest caches.
const TILE_ROWS: i32 = 16;

// @ts-ignore: decorator
@inline
function dot(sum: v128, codes: v128, x: usize): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(codes, v128.load(x)));
}

// @ts-ignore: decorator
@inline
function scaled(sum: v128, products: v128, scale: f32): v128 {
  return f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(products), f32x4.splat(scale)));
}

// @ts-ignore: decorator
@inline
function total(x: v128): f32 {
  const two = f32x4.add(x, v128.shuffle<i32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(two, 0) + f32x4.extract_lane(two, 1);
}

/** −z·Σ q in the first lane. With `points` at 0 the sum has its factor already. */
// @ts-ignore: decorator
@inline
function start(sum: usize, zero: v128): v128 {
  return i32x4.mul(v128.load32_zero(sum), zero);
}

// @ts-ignore: decorator
@inline
function zero4(points: usize, b: i32): v128 {
  if (!points) return i32x4.splat(1);
  return i32x4.splat((load<u8>(points + (b >> 1)) >> ((b & 1) << 2)) & 15);
}

// @ts-ignore: decorator
@inline
function zero8(points: usize, b: i32): v128 {
  return i32x4.splat(points ? load<u8>(points + b) : 1);
}

/** Σ of four products each of x, i8, with codes, 7 bits, is added. */
// @ts-ignore: decorator
@inline
function dotBytes(sum: v128, codes: v128, x: usize): v128 {
  if (!ASC_FEATURE_RELAXED_SIMD) return sum;
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(x), codes, sum);
}

/** As row4, of x in bytes. */
function row4InBytes(
  w: usize, ws: usize, points: usize, blocks: i32, block: i32, x: usize, xs: usize, sums: usize,
): f32 {
  const mask = i8x16.splat(15);
  let f = f32x4.splat(0);
  for (let b = 0; b < blocks; b++, ws += 4, xs += 4, sums += 4) {
    let p = start(sums, zero4(points, b));
    let q = i32x4.splat(0);
    for (const end = w + <usize>block / 2; w < end; w += 16, x += 32) {
      const c = v128.load(w);
      p = dotBytes(p, v128.and(c, mask), x);
      q = dotBytes(q, i8x16.shr_u(c, 4), x + 16);
    }
    f = scaled(f, i32x4.add(p, q), load<f32>(ws) * load<f32>(xs));
  }
  return total(f);
}

/** Scales and sums of four vectors, block by block side by side: f32[blocks][4], then i32[blocks][4]. */
function besideEachOther(blocks: i32, xs: usize, sums: usize, out: usize): void {
  const blockRow = <usize>blocks * 4;
  for (let v: usize = 0; v < 4; v++) {
    for (let b: usize = 0; b < <usize>blocks; b++) {
      store<f32>(out + b * 16 + v * 4, load<f32>(xs + v * blockRow + b * 4));
      store<i32>(out + 4 * blockRow + b * 16 + v * 4, load<i32>(sums + v * blockRow + b * 4));
    }
  }
}

/** The sums of the lanes of four. */
// @ts-ignore: decorator
@inline
function totals(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 2, 4, 6), v128.shuffle<i32>(c, d, 1, 3, 5, 7));
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 2, 4, 6), v128.shuffle<i32>(ab, cd, 1, 3, 5, 7));
}

/** One row as it is stored, four vectors in bytes, whose scales and sums are beside each other. */
function fourInBytes(
  w: usize, ws: usize, points: usize, blocks: i32, block: i32, x: usize, beside: usize, y: usize, yRow: usize,
): void {
  const mask = i8x16.splat(15);
  const xRow = <usize>blocks * block;
  const sums = <usize>blocks * 16;
  let x1 = x + xRow, x2 = x1 + xRow, x3 = x2 + xRow;
  let f = f32x4.splat(0);
  for (let b = 0; b < blocks; b++, ws += 4, beside += 16) {
    let p0 = i32x4.splat(0), p1 = p0, p2 = p0, p3 = p0;
    for (const end = w + <usize>block / 2; w < end; w += 16, x += 32, x1 += 32, x2 += 32, x3 += 32) {
      const c = v128.load(w);
      const low = v128.and(c, mask), high = i8x16.shr_u(c, 4);
      p0 = dotBytes(dotBytes(p0, low, x), high, x + 16);
      p1 = dotBytes(dotBytes(p1, low, x1), high, x1 + 16);
      p2 = dotBytes(dotBytes(p2, low, x2), high, x2 + 16);
      p3 = dotBytes(dotBytes(p3, low, x3), high, x3 + 16);
    }
    let sum = v128.load(beside + sums);
    if (points) sum = i32x4.mul(sum, zero4(points, b));
    const products = f32x4.convert_i32x4_s(i32x4.add(totals(p0, p1, p2, p3), sum));
    f = f32x4.add(f, f32x4.mul(products, f32x4.mul(v128.load32_splat(ws), v128.load(beside))));
  }
  store<f32>(y, f32x4.extract_lane(f, 0));
  store<f32>(y + yRow, f32x4.extract_lane(f, 1));
  store<f32>(y + 2 * yRow, f32x4.extract_lane(f, 2));
  store<f32>(y + 3 * yRow, f32x4.extract_lane(f, 3));
}

function row4(
  w: usize, ws: usize, points: usize, blocks: i32, block: i32, x: usize, xs: usize, sums: usize,
): f32 {
  const mask = i16x8.splat(15);
  let f = f32x4.splat(0);
  for (let b = 0; b < blocks; b++, ws += 4, xs += 4, sums += 4) {
    let p = start(sums, zero4(points, b));
    let q = i32x4.splat(0);
    for (const end = w + <usize>block / 2; w < end; w += 16, x += 64) {
      const c = v128.load(w);
      p = dot(p, v128.and(c, mask), x);
      q = dot(q, v128.and(i16x8.shr_u(c, 4), mask), x + 16);
      p = dot(p, v128.and(i16x8.shr_u(c, 8), mask), x + 32);
      q = dot(q, i16x8.shr_u(c, 12), x + 48);
    }
    f = scaled(f, i32x4.add(p, q), load<f32>(ws) * load<f32>(xs));
  }
  return total(f);
}

function row8(
  w: usize, ws: usize, points: usize, blocks: i32, block: i32, x: usize, xs: usize, sums: usize,
): f32 {
  const mask = i16x8.splat(255);
  let f = f32x4.splat(0);
  for (let b = 0; b < blocks; b++, ws += 4, xs += 4, sums += 4) {
    let p = start(sums, zero8(points, b));
    let q = i32x4.splat(0);
    for (const end = w + block; w < end; w += 32, x += 64) {
      const c = v128.load(w);
      const d = v128.load(w, 16);
      p = dot(p, v128.and(c, mask), x);
      q = dot(q, i16x8.shr_u(c, 8), x + 16);
      p = dot(p, v128.and(d, mask), x + 32);
      q = dot(q, i16x8.shr_u(d, 8), x + 48);
    }
    f = scaled(f, i32x4.add(p, q), load<f32>(ws) * load<f32>(xs));
  }
  return total(f);
}

/** out = c − z of a row, i16[blocks·block] in the order of roundRows. */
function unpack4(w: usize, points: usize, blocks: i32, block: i32, out: usize): void {
  const mask = i16x8.splat(15);
  for (let b = 0; b < blocks; b++) {
    const zero = i16x8.splat(points ? <i16>((<i32>load<u8>(points + (b >> 1)) >> ((b & 1) << 2)) & 15) : 8);
    for (const end = w + <usize>block / 2; w < end; w += 16, out += 64) {
      const c = v128.load(w);
      v128.store(out, i16x8.sub(v128.and(c, mask), zero));
      v128.store(out, i16x8.sub(v128.and(i16x8.shr_u(c, 4), mask), zero), 16);
      v128.store(out, i16x8.sub(v128.and(i16x8.shr_u(c, 8), mask), zero), 32);
      v128.store(out, i16x8.sub(i16x8.shr_u(c, 12), zero), 48);
    }
  }
}

function unpack8(w: usize, points: usize, blocks: i32, block: i32, out: usize): void {
  const mask = i16x8.splat(255);
  for (let b = 0; b < blocks; b++) {
    const zero = i16x8.splat(points ? <i16>load<u8>(points + b) : 128);
    for (const end = w + block; w < end; w += 16, out += 32) {
      const c = v128.load(w);
      v128.store(out, i16x8.sub(v128.and(c, mask), zero));
      v128.store(out, i16x8.sub(i16x8.shr_u(c, 8), zero), 16);
    }
  }
}

/** One unpacked row, four vectors. */
function fourVectors(
  row: usize, ws: usize, blocks: i32, block: i32, x: usize, xs: usize, y: usize, yRow: usize,
): void {
  const blockRow = <usize>blocks * 4;
  const xRow = <usize>blocks * block * 2;
  let x1 = x + xRow, x2 = x1 + xRow, x3 = x2 + xRow;
  let f0 = f32x4.splat(0), f1 = f0, f2 = f0, f3 = f0;
  for (let b = 0; b < blocks; b++, ws += 4, xs += 4) {
    let p0 = i32x4.splat(0), p1 = p0, p2 = p0, p3 = p0;
    for (const end = row + <usize>block * 2; row < end; row += 64, x += 64, x1 += 64, x2 += 64, x3 += 64) {
      let c = v128.load(row);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(c, v128.load(x)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(c, v128.load(x1)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(c, v128.load(x2)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(c, v128.load(x3)));
      c = v128.load(row, 16);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(c, v128.load(x, 16)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(c, v128.load(x1, 16)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(c, v128.load(x2, 16)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(c, v128.load(x3, 16)));
      c = v128.load(row, 32);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(c, v128.load(x, 32)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(c, v128.load(x1, 32)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(c, v128.load(x2, 32)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(c, v128.load(x3, 32)));
      c = v128.load(row, 48);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(c, v128.load(x, 48)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(c, v128.load(x1, 48)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(c, v128.load(x2, 48)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(c, v128.load(x3, 48)));
    }
    const s = load<f32>(ws);
    f0 = scaled(f0, p0, s * load<f32>(xs));
    f1 = scaled(f1, p1, s * load<f32>(xs + blockRow));
    f2 = scaled(f2, p2, s * load<f32>(xs + 2 * blockRow));
    f3 = scaled(f3, p3, s * load<f32>(xs + 3 * blockRow));
  }
  store<f32>(y, total(f0));
  store<f32>(y + yRow, total(f1));
  store<f32>(y + 2 * yRow, total(f2));
  store<f32>(y + 3 * yRow, total(f3));
}

/**
 * y_tr for rows of codes and vectors that roundRows has made.
 *
 * @param bits of a code, 4 or 8
 * @param w codes u8[rows][blocks·block·bits/8] @param ws scales f32[rows][blocks]
 * @param points zero points u8[rows][⌈blocks·bits/8⌉]; 0: none
 * @param x, xs, sums of `tokens` vectors of `blocks` blocks
 * @param y f32: vector t, row r at y + t·yRow + 4·r
 * @param scratch TILE_ROWS·blocks·block·2 bytes: unpacked rows, or what `besideEachOther` makes
 */
export function multiply(
  bits: i32, w: usize, ws: usize, points: usize, rows: i32, blocks: i32, block: i32,
  x: usize, xs: usize, sums: usize, tokens: i32, y: usize, yRow: usize, scratch: usize,
): void {
  const wRow = <usize>blocks * block * bits / 8;
  const pointRow: usize = !points ? 0 : bits == 4 ? (blocks + 1) >> 1 : blocks;
  const blockRow = <usize>blocks * 4;
  const bytes = inBytes(bits);
  const xRow = <usize>blocks * block * (bytes ? 1 : 2);
  const whole = tokens & ~3;
  for (let first = 0; first < rows; first += TILE_ROWS) {
    const last = min(rows, first + TILE_ROWS);
    if (whole > 0 && !bytes) {
      for (let r = <usize>first, out = scratch; r < <usize>last; r++, out += xRow) {
        if (bits == 4) unpack4(w + r * wRow, points + r * pointRow, blocks, block, out);
        else unpack8(w + r * wRow, points + r * pointRow, blocks, block, out);
      }
    }
    for (let t: usize = 0; t < <usize>whole; t += 4) {
      if (bytes) {
        besideEachOther(blocks, xs + t * blockRow, sums + t * blockRow, scratch);
        for (let r = <usize>first; r < <usize>last; r++) {
          const out = y + t * yRow + 4 * r;
          fourInBytes(w + r * wRow, ws + r * blockRow, points + r * pointRow, blocks, block, x + t * xRow, scratch, out, yRow);
        }
        continue;
      }
      for (let r = <usize>first, row = scratch; r < <usize>last; r++, row += xRow) {
        fourVectors(row, ws + r * blockRow, blocks, block, x + t * xRow, xs + t * blockRow, y + t * yRow + 4 * r, yRow);
      }
    }
    for (let t = <usize>whole; t < <usize>tokens; t++) {
      for (let r = <usize>first; r < <usize>last; r++) {
        const own = w + r * wRow, scales = ws + r * blockRow, zeros = points + r * pointRow;
        const vector = x + t * xRow, vectorScales = xs + t * blockRow, sum = sums + t * blockRow;
        store<f32>(
          y + t * yRow + 4 * r,
          bytes
            ? row4InBytes(own, scales, zeros, blocks, block, vector, vectorScales, sum)
            : bits == 4
            ? row4(own, scales, zeros, blocks, block, vector, vectorScales, sum)
            : row8(own, scales, zeros, blocks, block, vector, vectorScales, sum),
        );
      }
    }
  }
}
