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
  /** k: entries of a row of a key's secret S, words of a query. */
  readonly keyLength: number;
  /** S is uniform in the integers (-2^(secretBits-1), 2^(secretBits-1)]. */
  readonly secretBits: number;
  /** E, the error of encrypted weights, is uniform in [-2^(weightErrorBits-1), 2^(weightErrorBits-1)). */
  readonly weightErrorBits: number;
  /** E_H, the error of hints, is uniform in [-2^(hintErrorBits-1), 2^(hintErrorBits-1)). */
  readonly hintErrorBits: number;
  /** R: upper bound of the Euclidean norm of a row of W. */
  readonly rowNorm: number;
  /** Top bits of each word of encrypted weights that are sent. */
  readonly weightBits: number;
  /** Top bits of each hint word that are sent. */
  readonly hintBits: number;
  /** Top bits of each query word that are sent. */
  readonly uploadBits: number;
  /** b0: top bits of each reply word that leave the provider. */
  readonly replyBits: number;
  /** Query vectors that one key answers; then it is worn out. */
  readonly vectorsPerKey: number;
}

declare const checked: unique symbol;

/** A literal that has passed `createParameters`; frozen. */
export type Parameters = ParametersLiteral & { readonly [checked]: true };

/** Standard deviation of an integer that is uniform over 2^bits values: sqrt((4^bits - 1)/12). */
export function uniformStddev(bits: number): number {
  return Math.sqrt((4 ** bits - 1) / 12);
}
