// Sums of products of ring elements with small integers, modulo 2^32: Σ_j a_j·x_j as integers, then reduced. a is read as
// signed words, so |a_i| ≤ 2^31. The sums are computed in f64 (fft.ts) and rounded to integers. They are exact where the error
// of the transforms is below 1/2. It is below 2^-46·‖a‖₂·Σ_j ‖x_j‖₂ for up to 32 terms; docs/parameters.md has what it is for a,
// S, s and x̂ as they are.
import { beginForward, finishInverse, turn } from "./fft";
import { PADDED, POLY_BYTES, RING_DEGREE, SPECTRUM_BYTES, SUM, WORK } from "./memory";

/**
 * The spectrum of a/1024, for products.
 * @param words u32[N], the coefficients of a
 * @param transposed take a(X^-1) instead: the product with it is by the transposed matrix of a
 * @param out SPECTRUM_BYTES
 */
export function prepareElement(words: usize, transposed: bool, out: usize): void {
  if (transposed) {
    // b_0 = a_0, b_(N-i) = -a_i
    store<i32>(PADDED, load<i32>(words));
    for (let i: usize = 4; i < POLY_BYTES; i += 4) store<i32>(PADDED + POLY_BYTES - i, -load<i32>(words + i));
  } else {
    memory.copy(PADDED, words, POLY_BYTES);
  }
  beginForward<i32>(PADDED, <i32>RING_DEGREE);
  turn(WORK, true, 0, out, false, false);
  const scale = f64x2.splat(1.0 / 1024.0);
  for (const end = out + SPECTRUM_BYTES; out < end; out += 16) v128.store(out, f64x2.mul(v128.load(out), scale));
}

/** Debug builds only: Σ_j ‖x_j‖₂² of the sum so far. */
let norm: i64 = 0;

/** x̂, s and S are shorter. */
const LARGEST_NORM: i64 = 1 << 27;

function addNorm<T>(small: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    const x = <i64>load<T>(small + i * sizeof<T>());
    norm += x * x;
  }
  assert(norm <= LARGEST_NORM);
}

/** PADDED: T[N] = small, then zeros. */
// @ts-ignore: decorator
@inline
function pad<T>(small: usize, count: i32): void {
  const bytes = <usize>count * sizeof<T>();
  memory.copy(PADDED, small, bytes);
  memory.fill(PADDED + bytes, 0, RING_DEGREE * sizeof<T>() - bytes);
}

/** Small integers to WORK, on their way to a spectrum. */
// @ts-ignore: decorator
@inline
function begin<T>(small: usize, count: i32, first: bool): void {
  if (!ASC_NO_ASSERT) {
    if (first) norm = 0;
    addNorm<T>(small, count);
  }
  pad<T>(small, count);
  beginForward<T>(PADDED, count);
}

// @ts-ignore: decorator
@inline
function transform<T>(small: usize, count: i32, out: usize): void {
  begin<T>(small, count, true);
  turn(WORK, true, 0, out, false, false);
}

/**
 * The spectrum of small integers, for products with many elements.
 * @param small i16[count], count ≤ N
 * @param out SPECTRUM_BYTES
 */
export function transformSmall(small: usize, count: i32, out: usize): void {
  transform<i16>(small, count, out);
}

/** The same of i8[count]. */
export function transformSmall8(small: usize, count: i32, out: usize): void {
  transform<i8>(small, count, out);
}

/**
 * Adds a·small to the sum, or begins it.
 * @param element as prepareElement made it
 * @param small i16[count], count ≤ N
 */
export function addToSum(element: usize, small: usize, count: i32, first: bool): void {
  begin<i16>(small, count, first);
  if (first) turn(WORK, true, element, SUM, false, false);
  else turn(WORK, true, element, SUM, true, false);
}

/**
 * out_i += coefficient i of the sum and of a·small mod 2^32, i < outCount.
 * @param element as prepareElement made it
 * @param small i16[count], count ≤ N
 * @param first whether there is no sum before
 * @param out u32[outCount]
 */
export function finishSum(element: usize, small: usize, count: i32, first: bool, out: usize, outCount: i32): void {
  begin<i16>(small, count, first);
  if (first) turn(WORK, true, element, SUM, false, true);
  else turn(WORK, true, element, SUM, true, true);
  addCoefficients(out, outCount);
}

/** out_i += coefficient i of a·small mod 2^32, i < count. @param spectrum as transformSmall made it */
export function addProductOf(element: usize, spectrum: usize, out: usize, count: i32): void {
  turn(spectrum, false, element, SUM, false, true);
  addCoefficients(out, count);
}

function addCoefficients(out: usize, count: i32): void {
  finishInverse();
  let from = SUM;
  const end = SUM + <usize>count * 4;
  for (const whole = SUM + (<usize>count & ~3) * 4; from < whole; from += 16, out += 16) {
    v128.store(out, i32x4.add(v128.load(out), v128.load(from)));
  }
  for (; from < end; from += 4, out += 4) store<i32>(out, load<i32>(out) + load<i32>(from));
}
