// Uniform ternary secrets from random bytes.
import { RING_DEGREE, SCRATCH_BYTES } from "./memory";

/** Accepted bytes that one secret takes: 5 base-3 digits each, 5 · 416 ≥ N, a multiple of 16. */
const ACCEPTED: i32 = 416;
/** The largest multiple of 3^5 that a byte reaches. */
const LIMIT: i32 = 243;

/**
 * out_i uniform in {-1, 0, 1}, i16[N]; false, with out untouched, when fewer than 416 of the bytes are below 243.
 *
 * A byte below 243 is five uniform base-3 digits, a byte above is thrown away. No branch on a byte: each is stored
 * and the write position moves on only if it was accepted. So addresses and the loop's length depend on *which*
 * bytes were rejected; a rejected byte enters nothing, and that a byte was accepted says only that it is uniform
 * below 243, so they are independent of the secret.
 * Digit k of byte j is coefficient 416·k + j.
 */
export function sampleTernary(random: usize, randomBytes: i32, out: usize): bool {
  let accepted = 0;
  for (let i = 0; i < randomBytes && accepted < ACCEPTED; i++) {
    const byte = <i32>load<u8>(random + i);
    store<u8>(SCRATCH_BYTES + accepted, byte);
    accepted += <i32>(<u32>(byte - LIMIT) >> 31);
  }
  if (accepted < ACCEPTED) return false;
  for (let j: usize = 0; j < <usize>ACCEPTED; j += 8) {
    let rest = v128.load8x8_u(SCRATCH_BYTES + j);
    for (let k: usize = 0; k < 5; k++) {
      // ⌊x / 3⌋ = ⌊171·x / 2^9⌋ for x < 256
      const third = i16x8.shr_u(i16x8.mul(rest, i16x8.splat(171)), 9);
      const digit = i16x8.sub(rest, i16x8.mul(third, i16x8.splat(3)));
      rest = third;
      const at = k * <usize>ACCEPTED + j;
      if (at < RING_DEGREE) v128.store(out + at * 2, i16x8.sub(digit, i16x8.splat(1)));
    }
  }
  return true;
}
