/**
 * Largest log2 q for which RLWE with a ternary secret has 128 bits against classical attacks, by ring degree N.
 *
 * With evaluation keys the largest modulus in use counts; Tacet has one modulus and no such keys.
 */

/** What a published table allows at one ring degree. */
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
