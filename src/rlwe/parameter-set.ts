/** A parameter set: its fields, and the range that kernels and formats allow each. */

import { TacetError } from "../base/errors.ts";

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

function fail(field: string, expected: string): never {
  throw new TacetError("bad_argument", `parameters: ${field} must be ${expected}`);
}

/**
 * A frozen copy of the known fields, each in the range that kernels and formats allow. Security is not looked at:
 * only createParameters and the test-only insecure sets call this.
 *
 * @throws TacetError bad_argument, naming the field
 */
export function checkParameterRanges(literal: ParametersLiteral): Parameters {
  const integer = (field: keyof ParametersLiteral, low: number, high: number): number => {
    const value = literal[field];
    if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
      fail(field, `an integer in [${low}, ${high}]`);
    }
    return value;
  };
  const { name } = literal;
  if (typeof name !== "string" || !/^[a-z0-9-]{1,64}$/.test(name)) {
    fail("name", "1 to 64 of a-z, 0-9 and -");
  }
  const ringDegree = integer("ringDegree", 16, 2048);
  if ((ringDegree & (ringDegree - 1)) !== 0) fail("ringDegree", "a power of two");
  const fields: ParametersLiteral = {
    name,
    ringDegree,
    logQ: integer("logQ", 32, 32), // words wrap at 2^32
    errorEta: integer("errorEta", 1, 32), // a sample takes 2·eta random bits, two words at most
    keyLength: integer("keyLength", 1, ringDegree), // coefficients of one ring element
    secretBits: integer("secretBits", 1, 11),
    weightErrorBits: integer("weightErrorBits", 1, 16), // an error takes two random bytes
    hintErrorBits: integer("hintErrorBits", 1, 16),
    // ‖x̂‖₂ ≤ 2^31/R + √n/2 < 2^12.2 for n = 2^19: products take 2^13.5, and |x̂| must fit 16 bits
    rowNorm: integer("rowNorm", 2 ** 19, 2 ** 30),
    weightBits: integer("weightBits", 16, 32),
    hintBits: integer("hintBits", 16, 32),
    uploadBits: integer("uploadBits", 16, 32),
    replyBits: integer("replyBits", 1, 32),
    vectorsPerKey: integer("vectorsPerKey", 1, 2 ** 20),
  };
  // ‖S‖₂² is at most this: what products take (ring/kernels.ts).
  if (fields.keyLength * 4 ** (fields.secretBits - 1) > 2 ** 27) {
    fail("secretBits", `such that keyLength·4^(secretBits - 1) ≤ 2^27, with a key of ${fields.keyLength}`);
  }
  return Object.freeze(fields) as Parameters;
}
