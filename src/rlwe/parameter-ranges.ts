/** What the engine can compute: the checks on a literal that have nothing to do with security. */
import { TacetError } from "../base/errors.ts";
import type { Parameters, ParametersLiteral } from "./parameter-set.ts";

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
  // |half·s| ≤ 2^15·N must stay below p/2 > 2^26 for the one-prime product to be exact.
  const ringDegree = integer("ringDegree", 16, 2048);
  if ((ringDegree & (ringDegree - 1)) !== 0) fail("ringDegree", "a power of two");
  const fields: ParametersLiteral = {
    name,
    ringDegree,
    logQ: integer("logQ", 32, 32), // words wrap at 2^32
    errorEta: integer("errorEta", 1, 32), // a sample takes 2·eta random bits, two words at most
    keyLength: integer("keyLength", 1, ringDegree), // coefficients of one ring element
    secretBits: integer("secretBits", 1, 11), // ‖S‖₁ ≤ 2^10·N = 2^21: the two-prime product is exact
    weightErrorBits: integer("weightErrorBits", 1, 16), // an error takes two random bytes
    hintErrorBits: integer("hintErrorBits", 1, 16),
    // ‖x̂‖₁ ≤ 2^9.5·2^31/R + 2^18 < 2^22 for n = 2^19, and |x̂| ≤ 2^31/R must fit 16 bits
    rowNorm: integer("rowNorm", 2 ** 19, 2 ** 30),
    weightBits: integer("weightBits", 16, 32),
    hintBits: integer("hintBits", 16, 32),
    uploadBits: integer("uploadBits", 16, 32),
    replyBits: integer("replyBits", 1, 32),
    vectorsPerKey: integer("vectorsPerKey", 1, 2 ** 20),
  };
  return Object.freeze(fields) as Parameters;
}
