/**
 * Marks: an account is given W + D instead of W, D = ±δ, so that a copy of its answers carries the account's signs
 * (docs/security.md, *Marks*). D is a function of a secret, the account, the group, row and column, and of nothing else:
 * all keys of an account have the same, over restarts and replicas, and nothing is stored.
 *
 *   odds_rj = markOdds(t),  t a byte of ChaCha20(SHAKE256("tacet/v2/mark-odds" ‖ secret ‖ group)), nonce r, place j
 *   D_rj = +δ if u < odds_rj, else −δ,  u four bits of ChaCha20(SHAKE256("tacet/v2/mark-signs" ‖ secret ‖ group ‖ account))
 *
 * The odds of each entry are themselves secret and drawn with the arcsine density: G. Tardos, "Optimal probabilistic
 * fingerprint codes", J. ACM 55 (2008). Accounts that put their copies together see where their signs differ and can
 * take out those; where the odds are far from even most of them have the same sign, which they cannot see, and the few
 * others tell whose it is. With even odds eight of them could take out nearly everything.
 *
 * δ is such that D·x̂ is as large as the noise that an answer has anyway: together they are √2 as large. LWE holds for
 * every W, so nothing that is said of keys changes.
 */
import { shake256 } from "@noble/hashes/sha3.js";
import { assertInteger, assertLength } from "../base/assert.ts";
import { utf8 } from "../base/bytes.ts";
import type { Parameters } from "../rlwe/parameters.ts";
import { predictedNoiseStddev, scaledNorm } from "./noise.ts";

export const MARK_SECRET_BYTES = 32;
const ODDS_DOMAIN = utf8("tacet/v2/mark-odds");
const SIGNS_DOMAIN = utf8("tacet/v2/mark-signs");

/**
 * The odds that a uniform byte t stands for, 1 to 15 of 16: p = 3x² − 2x³ at x = (t + 1/2)/256, rounded. That is within
 * 0.01 of sin²(πx/2), whose density is the arcsine's, 1/(π·√(p·(1−p))). Integers without a table: the odds are secret.
 */
export function markOdds(t: number): number {
  const x = 2 * t + 1; // of 512
  const odds = (1536 * x * x - 2 * x * x * x + 2 ** 22) >>> 23;
  return Math.min(15, Math.max(1, odds));
}

/** The mark of one account in one group. Secret. */
export interface GroupMark {
  /** Keys of ChaCha20, 32 bytes each. */
  readonly oddsSeed: Uint8Array;
  readonly signsSeed: Uint8Array;
  /** δ, in units of W. */
  readonly amplitude: number;
}

/** δ: standard deviation of the noise of u by ‖c·x‖, some 60 units; 1/500 of W's entries at n = 256, 1/75 at 13696. */
export function markAmplitude(p: Parameters): number {
  return Math.round(predictedNoiseStddev(p, p.rowNorm) / scaledNorm(p));
}

/** @param secret of the state folder @param account as keys are derived for it */
export function groupMark(p: Parameters, secret: Uint8Array, account: Uint8Array, group: number): GroupMark {
  return {
    oddsSeed: markOddsSeed(secret, group),
    signsSeed: markSeed(SIGNS_DOMAIN, secret, group).update(account).digest(),
    amplitude: markAmplitude(p),
  };
}

/** The seed of a group's odds, which all accounts share. Secret. */
export function markOddsSeed(secret: Uint8Array, group: number): Uint8Array {
  return markSeed(ODDS_DOMAIN, secret, group).digest();
}

function markSeed(domain: Uint8Array, secret: Uint8Array, group: number) {
  assertLength(secret, "secret", MARK_SECRET_BYTES);
  assertInteger(group, "group", 0, 2 ** 32 - 1);
  const index = Uint8Array.of(group, group >>> 8, group >>> 16, group >>> 24);
  return shake256.create({ dkLen: 32 }).update(domain).update(secret).update(index);
}
