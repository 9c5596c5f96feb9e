/** The fields of a parameter set, as they are written down and as they are once checked. */

/** Plain fields, JSON in both directions; unchecked. */
export interface ParametersLiteral {
  readonly name: string;
  /** N: coefficients of a polynomial in Z_q[X]/(X^N + 1); a power of two. */
  readonly ringDegree: number;
  /** log2 q. Words are u32 and wrap, so 32. */
  readonly logQ: number;
  /** eta of the user's error: CBD(eta), standard deviation sqrt(eta/2). */
  readonly errorEta: number;
  /** n_pad: secret columns P that the provider adds to W. */
  readonly paddingLength: number;
  /** P is uniform in the integers [paddingLow, paddingHigh]. */
  readonly paddingLow: number;
  readonly paddingHigh: number;
  /** sigma_E: standard deviation of the hint's rounded Gaussian error. */
  readonly hintErrorStddev: number;
  /** w in the widest layers: weights are integers of `weightBits(p, n)` bits. */
  readonly weightBits: number;
  /** Top bits of each hint word that are published. */
  readonly hintBits: number;
}

declare const checked: unique symbol;

/** A literal that has passed `createParameters`; frozen. */
export type Parameters = ParametersLiteral & { readonly [checked]: true };
