// Twiddle factors, computed once at load. A factor and its Shoup quotient always lie side by side.
import { FORWARD_PAIRS, FORWARD_TAIL, INVERSE_PAIRS, INVERSE_TAIL, RING_DEGREE } from "./memory";
import { centerScalar, P, PSI, shoupQuotient } from "./modular";

/** x^e mod p, centred. */
function power(x: i32, e: i32): i32 {
  let result: i64 = 1;
  let base: i64 = x;
  for (; e > 0; e >>= 1) {
    if (e & 1) result = <i64>centerScalar(result * base);
    base = <i64>centerScalar(base * base);
  }
  return <i32>result;
}

/** The 11-bit reversal of i. */
function reverseBits(i: i32): i32 {
  let r = 0;
  for (let b = 0; b < 11; b++) r |= ((i >> b) & 1) << (10 - b);
  return r;
}

/** Lane `lane` of the vector pair (w, q) at `at`. */
function setLane(at: usize, lane: i32, w: i32): void {
  store<i32>(at + lane * 4, w);
  store<i32>(at + 16 + lane * 4, shoupQuotient(w));
}

/**
 * root[k] = ψ^(±reverseBits(k)): the factor of block i in the level with m blocks is root[m + i].
 * @param sign 1 forward, -1 inverse
 */
function buildTables(sign: i32, pairs: usize, tail: usize): void {
  const psi = sign > 0 ? PSI : power(PSI, P - 2);
  for (let k = 1; k < <i32>RING_DEGREE; k++) {
    const w = power(psi, reverseBits(k));
    if (k < 512) {
      store<i32>(pairs + k * 8, w);
      store<i32>(pairs + k * 8 + 4, shoupQuotient(w));
    } else if (k < 1024) {
      // stride 2, two factors a block of 8: lanes [w0, w0, w1, w1]
      const at = tail + ((k - 512) >> 1) * 64;
      const lane = (k & 1) * 2;
      setLane(at, lane, w);
      setLane(at, lane + 1, w);
    } else {
      // stride 1, four factors a block of 8: lanes [w0, w2, w1, w3]
      const at = tail + ((k - 1024) >> 2) * 64 + 32;
      setLane(at, ((k & 1) << 1) | ((k >> 1) & 1), w);
    }
  }
}

/** Must be called once, before any other kernel. */
export function initialise(): void {
  buildTables(1, FORWARD_PAIRS, FORWARD_TAIL);
  buildTables(-1, INVERSE_PAIRS, INVERSE_TAIL);
}
