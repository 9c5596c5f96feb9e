/** What the engine can compute: the checks on a literal that have nothing to do with security. */
import { TacetError } from "../base/errors.ts";
import type { Parameters, ParametersLiteral } from "./parameter-set.ts";

function fail(field: string, expected: string): never {
  throw new TacetError("bad_argument", `parameters: ${field} must be ${expected}`);
}

function integer(
  literal: ParametersLiteral,
  field: keyof ParametersLiteral,
  low: number,
  high: number,
): number {
  const value = literal[field];
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    fail(field, `an integer in [${low}, ${high}]`);
  }
  return value;
}

/**
 * A frozen copy of the known fields, each in the range that kernels and formats allow. Security is not looked at:
 * only createParameters and the test-only insecure sets call this.
 *
 * @throws TacetError bad_argument, naming the field
 */
export function checkParameterRanges(literal: ParametersLiteral): Parameters {
  const { name, hintErrorStddev } = literal;
  if (typeof name !== "string" || !/^[a-z0-9-]{1,64}$/.test(name)) {
    fail("name", "1 to 64 of a-z, 0-9 and -");
  }
  // |half·s| ≤ 2^15·N must stay below p/2 > 2^26 for the one-prime product to be exact.
  const ringDegree = integer(literal, "ringDegree", 16, 2048);
  if ((ringDegree & (ringDegree - 1)) !== 0) fail("ringDegree", "a power of two");
  const paddingLow = integer(literal, "paddingLow", -32768, 32767);
  if (typeof hintErrorStddev !== "number" || !(hintErrorStddev >= 1 && hintErrorStddev <= 65536)) {
    fail("hintErrorStddev", "a number in [1, 65536]");
  }
  const fields: ParametersLiteral = {
    name,
    ringDegree,
    logQ: integer(literal, "logQ", 32, 32), // words wrap at 2^32
    errorEta: integer(literal, "errorEta", 1, 32), // a sample takes 2·eta random bits, two words at most
    paddingLength: integer(literal, "paddingLength", 1, ringDegree),
    paddingLow,
    paddingHigh: integer(literal, "paddingHigh", paddingLow + 1, 32767), // entries of P are stored as i16
    hintErrorStddev,
    weightBits: integer(literal, "weightBits", 2, 11), // narrow layers have two bits more, and the kernels multiply 13-bit integers
    hintBits: integer(literal, "hintBits", 16, 32),
  };
  return Object.freeze(fields) as Parameters;
}
