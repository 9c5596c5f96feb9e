// The roots of unity of fft.ts, computed once at load: the same on every machine, since additions, products and quotients of f64
// are rounded alike everywhere (the sine of a JavaScript engine is not).
import { ROOT_BYTES, ROOT_PAIRS, ROOTS } from "./memory";

const PI: f64 = 3.14159265358979323846;

/** cos(2πk/4096), 0 ≤ k ≤ 512: by its power series up to x^18/18!, which leaves 2^-68. */
function cosine(k: i32): f64 {
  const x = <f64>k * (PI / 2048);
  const z = x * x;
  let rest: f64 = 0;
  for (let n = 18; n >= 2; n -= 2) rest = (1 - rest) * z / <f64>(n * (n - 1));
  return 1 - rest;
}

/** sin(2πk/4096), 0 ≤ k ≤ 512: up to x^19/19!. */
function sine(k: i32): f64 {
  const x = <f64>k * (PI / 2048);
  const z = x * x;
  let rest: f64 = 0;
  for (let n = 19; n >= 3; n -= 2) rest = (1 - rest) * z / <f64>(n * (n - 1));
  return x - x * rest;
}

/** The real part of e^(2πik/4096), for any k ≥ 0. */
function realPart(k: i32): f64 {
  let m = k & 4095;
  if (m > 2048) m = 4096 - m;
  const negative = m > 1024;
  if (negative) m = 2048 - m;
  const value = m <= 512 ? cosine(m) : sine(1024 - m);
  return negative ? -value : value;
}

/** e^(2πik/4096), its parts `step` bytes apart. */
function putRoot(at: usize, k: i32, step: usize): void {
  store<f64>(at, realPart(k));
  store<f64>(at + step, realPart(k + 3072)); // sin t = cos(t - π/2)
}

/**
 * The roots of block `block` of the pass with 4^level blocks, and of all blocks that it is cut into.
 * @param k X^4m = e^(2πik/4096) in the block, so that ζ = e^(2πik/4/4096)
 */
function fillBlock(level: i32, first: usize, block: usize, k: i32): void {
  const zeta = k >> 2;
  if (level == 4) {
    const at = ROOT_PAIRS + (block >> 1) * 2 * ROOT_BYTES + (block & 1) * 8;
    putRoot(at, 2 * zeta, 16);
    putRoot(at + 32, zeta, 16);
    putRoot(at + 64, 3 * zeta, 16);
    return;
  }
  const at = ROOTS + (first + block) * ROOT_BYTES;
  putRoot(at, 2 * zeta, 8);
  putRoot(at + 16, zeta, 8);
  putRoot(at + 32, 3 * zeta, 8);
  // X^m = ζ, -ζ, iζ, -iζ
  const next = first * 4 + 1;
  fillBlock(level + 1, next, 4 * block, zeta);
  fillBlock(level + 1, next, 4 * block + 1, zeta + 2048);
  fillBlock(level + 1, next, 4 * block + 2, zeta + 1024);
  fillBlock(level + 1, next, 4 * block + 3, zeta + 3072);
}

/** Must be called once, before any other kernel. */
export function initialise(): void {
  fillBlock(0, 0, 0, 1024); // X^1024 = i
}
