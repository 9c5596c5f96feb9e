/** The security of a parameter set, and the floor that createParameters enforces. */
import { TacetError } from "../base/errors.ts";
import { estimateAttacks, estimateLwe, type LweEstimate, type LweInstance } from "./lattice-estimate.ts";
import { type Parameters, uniformStddev } from "./parameter-set.ts";

/** Bits that every instance must have in the HE-standard cost model. */
export const SECURITY_FLOOR = 128;
/** Bits that worn keys must have beyond the floor: what the estimator may have missed. */
const BITS_IN_HAND = 4;
/** Vectors that a key may have answered beyond its number, in the worst case that is counted. */
const SPARE_VECTORS = 16;
/** log2 of the worn keys of one adapter that are counted against it, all accounts together. */
export const LOG_KEYS = 30;
/** The same for their differences: 2^30 keys have 2^59 pairs. */
const LOG_PAIRS = 2 * LOG_KEYS - 1;

/** Variance of a uniform ternary entry: 2/3. */
const TERNARY_STDDEV = Math.sqrt(2 / 3);

/** Each instance with as many samples as help an attacker. */
export interface Instances<T> {
  /** v = a_0·s + e + y: what protects the client's activations. */
  readonly user: T;
  /** B = M·S + E + W: what protects the provider's weights under a key that has answered nothing. */
  readonly freshKey: T;
  /** The same after {@link readCoordinates} entries of S have been read by queries. */
  readonly wornKey: T;
  /** The same where an attacker has 2^30 such keys of one W: one that is solved gives it away. */
  readonly wornKeys: T;
  /** The difference of two worn keys, in which W cancels: errors and secrets are wider by sqrt(2). */
  readonly keyDifference: T;
  /** Any pair of 2^30 worn keys. */
  readonly keyDifferences: T;
}

export type ParameterSecurity = Instances<LweEstimate>;

/** Both attacks on one instance, and the cheaper one. */
export interface AttackEstimates {
  readonly best: LweEstimate;
  readonly primal: LweEstimate;
  readonly dual: LweEstimate;
}

const known = new WeakMap<Parameters, ParameterSecurity>();

/**
 * Q·b0/min(h_S, h_E, h_EH), rounded up: LWE dimensions that Q query vectors can take from a key. A vector brings at
 * most b0 bits a row. Whoever asks for entries of S, E or E_H instead of the function learns one for as many bits as
 * it has; the cheapest kind counts (docs/parameters.md §Worn keys).
 */
export function readCoordinates(p: Parameters, vectors: number): number {
  const entropy = Math.min(p.secretBits, p.weightErrorBits, p.hintErrorBits);
  return Math.ceil((vectors * p.replyBits) / entropy);
}

/** LWE under one key whose S has `read` known entries. */
function keyInstance(p: Parameters, read: number, factor = 1): LweInstance {
  return {
    dimension: Math.max(1, p.keyLength - read),
    logQ: p.logQ,
    secretStddev: factor * uniformStddev(p.secretBits),
    errorStddev: factor * uniformStddev(p.weightErrorBits),
    samples: Number.POSITIVE_INFINITY,
  };
}

/**
 * LWE that is left of a key after so many vectors, in the worst case known.
 *
 * @param logKeys log2 of the keys of the same W that an attacker has
 */
export function keyAfter(p: Parameters, vectors: number, logKeys = 0): LweEstimate {
  return estimateLwe({ ...keyInstance(p, readCoordinates(p, vectors)), logInstances: logKeys });
}

/** LWE that is left of any difference of 2^logKeys keys, two at least, after so many vectors each. */
export function differenceAfter(p: Parameters, vectors: number, logKeys = 1): LweEstimate {
  const instance = keyInstance(p, readCoordinates(p, vectors), Math.SQRT2);
  // Two keys have one difference; of K there are about K²/2.
  return estimateLwe({ ...instance, logInstances: logKeys === 1 ? 0 : 2 * logKeys - 1 });
}

function instancesOf(p: Parameters): Instances<LweInstance> {
  const worn = readCoordinates(p, p.vectorsPerKey + SPARE_VECTORS);
  return {
    user: {
      dimension: p.ringDegree,
      logQ: p.logQ,
      secretStddev: TERNARY_STDDEV,
      errorStddev: Math.sqrt(p.errorEta / 2),
      samples: Number.POSITIVE_INFINITY,
    },
    freshKey: keyInstance(p, 0),
    wornKey: keyInstance(p, worn),
    wornKeys: { ...keyInstance(p, worn), logInstances: LOG_KEYS },
    keyDifference: keyInstance(p, worn, Math.SQRT2),
    keyDifferences: { ...keyInstance(p, worn, Math.SQRT2), logInstances: LOG_PAIRS },
  };
}

function mapInstances<T, U>(of: Instances<T>, change: (value: T) => U): Instances<U> {
  return {
    user: change(of.user),
    freshKey: change(of.freshKey),
    wornKey: change(of.wornKey),
    wornKeys: change(of.wornKeys),
    keyDifference: change(of.keyDifference),
    keyDifferences: change(of.keyDifferences),
  };
}

/** Estimates for all LWE instances, computed once per set. */
export function securityOf(p: Parameters): ParameterSecurity {
  let security = known.get(p);
  if (security === undefined) {
    security = mapInstances(instancesOf(p), estimateLwe);
    known.set(p, security);
  }
  return security;
}

/** As {@link securityOf}, each attack by itself. */
export function attacksOn(p: Parameters): Instances<AttackEstimates> {
  return mapInstances(instancesOf(p), (instance) => ({
    best: estimateLwe(instance),
    ...estimateAttacks(instance),
  }));
}

/** @throws TacetError bad_argument if tables or estimates say less than 128 bits, or than 132 for worn keys */
export function checkSecurity(p: Parameters): void {
  const limit = maxLogQ(p.ringDegree);
  if (limit === undefined) {
    throw new TacetError(
      "bad_argument",
      `parameters: no security table has a row for ringDegree ${p.ringDegree}`,
    );
  }
  if (p.logQ > limit) {
    throw new TacetError(
      "bad_argument",
      `parameters: logQ ${p.logQ} is above the published limit of ${limit} at ringDegree ${p.ringDegree}`,
    );
  }
  const { user, freshKey, wornKeys, keyDifferences } = securityOf(p);
  refuseBelow(SECURITY_FLOOR, user, "errorEta", "user encryption");
  const widths = "keyLength, secretBits, weightErrorBits";
  refuseBelow(SECURITY_FLOOR, freshKey, widths, "an unused key");
  const wear = `${widths}, or fewer vectorsPerKey or replyBits`;
  refuseBelow(SECURITY_FLOOR + BITS_IN_HAND, wornKeys, wear, `a worn key, one of 2^${LOG_KEYS},`);
  const pair = `the difference of two worn keys, of 2^${LOG_KEYS},`;
  refuseBelow(SECURITY_FLOOR + BITS_IN_HAND, keyDifferences, wear, pair);
}

function refuseBelow(floor: number, estimate: LweEstimate, fields: string, what: string): void {
  // Negated, so that a NaN is refused too.
  if (!(estimate.standardBits >= floor)) {
    throw new TacetError(
      "bad_argument",
      `parameters: ${what} has ${estimate.standardBits.toFixed(1)} bits, at least ${floor} are required`,
      { hint: `raise the security through ${fields}` },
    );
  }
}

/**
 * What a published table allows at one ring degree N: the largest log2 q for which RLWE with a ternary secret has 128
 * bits against classical attacks. With evaluation keys the largest modulus in use counts; Tacet has one modulus and no
 * such keys.
 */
export interface SecurityTableRow {
  readonly ringDegree: number;
  /**
   * Homomorphic encryption standard (Albrecht et al., 2018, version 1.1; ePrint 2019/939): ternary secret, security
   * 128, classical. Checked against Microsoft SEAL, util/hestdparms.h.
   */
  readonly standard2018: number;
  /**
   * Security Guidelines for Implementing Homomorphic Encryption (Bossuat et al., ePrint 2024/463; IACR
   * Communications in Cryptology 1(4), 2025, doi 10.62056/anxra69p1), Table 5.2: ternary, category 128, classical.
   * The later and stricter table: MATZOV's cost model. Checked against Google HEIR, lib/Parameters/RLWESecurityParams.
   */
  readonly guidelines2024: number;
}

export const SECURITY_TABLE: readonly SecurityTableRow[] = Object.freeze([
  Object.freeze({ ringDegree: 1024, standard2018: 27, guidelines2024: 26 }),
  Object.freeze({ ringDegree: 2048, standard2018: 54, guidelines2024: 53 }),
  Object.freeze({ ringDegree: 4096, standard2018: 109, guidelines2024: 106 }),
  Object.freeze({ ringDegree: 8192, standard2018: 218, guidelines2024: 214 }),
  Object.freeze({ ringDegree: 16384, standard2018: 438, guidelines2024: 430 }),
  Object.freeze({ ringDegree: 32768, standard2018: 881, guidelines2024: 868 }),
]);

/** Largest log2 q that both tables allow at this ring degree; undefined where no table has a row. */
export function maxLogQ(ringDegree: number): number | undefined {
  const row = SECURITY_TABLE.find((entry) => entry.ringDegree === ringDegree);
  return row && Math.min(row.standard2018, row.guidelines2024);
}
