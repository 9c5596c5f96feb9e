// Twiddle factors, computed once at load. A factor and its Shoup quotient always lie side by side.
import { FORWARD_PAIRS, FORWARD_TAIL, INVERSE_PAIRS, INVERSE_TAIL, RING_DEGREE, TABLE, TABLE2 } from "./memory";
import { P, P2, power, PSI, PSI2, shoupQuotient } from "./modular";

/** The 11-bit reversal of i. */
function reverseBits(i: i32): i32 {
  let r = 0;
  for (let b = 0; b < 11; b++) r |= ((i >> b) & 1) << (10 - b);
  return r;
}

/** Lane `lane` of the vector pair (w, q) at `at`. */
function setLane(at: usize, lane: i32, w: i32, p: i32): void {
  store<i32>(at + lane * 4, w);
  store<i32>(at + 16 + lane * 4, shoupQuotient(w, p));
}

/** root[k] = ψ^reverseBits(k): the factor of block i in the level with m blocks is root[m + i]. ψ^-1 for the inverse. */
function buildTables(p: i32, psi: i32, pairs: usize, tail: usize): void {
  for (let k = 1; k < <i32>RING_DEGREE; k++) {
    const w = power(psi, reverseBits(k), p);
    if (k < 512) {
      store<i32>(pairs + k * 8, w);
      store<i32>(pairs + k * 8 + 4, shoupQuotient(w, p));
    } else if (k < 1024) {
      // stride 2, two factors a block of 8: lanes [w0, w0, w1, w1]
      const at = tail + ((k - 512) >> 1) * 64;
      const lane = (k & 1) * 2;
      setLane(at, lane, w, p);
      setLane(at, lane + 1, w, p);
    } else {
      // stride 1, four factors a block of 8: lanes [w0, w2, w1, w3]
      const at = tail + ((k - 1024) >> 2) * 64 + 32;
      setLane(at, ((k & 1) << 1) | ((k >> 1) & 1), w, p);
    }
  }
}

/** Must be called once, before any other kernel. */
export function initialise(): void {
  buildTables(P, PSI, TABLE + FORWARD_PAIRS, TABLE + FORWARD_TAIL);
  buildTables(P, power(PSI, P - 2, P), TABLE + INVERSE_PAIRS, TABLE + INVERSE_TAIL);
  buildTables(P2, PSI2, TABLE2 + FORWARD_PAIRS, TABLE2 + FORWARD_TAIL);
  buildTables(P2, power(PSI2, P2 - 2, P2), TABLE2 + INVERSE_PAIRS, TABLE2 + INVERSE_TAIL);
}
