/** Parameter sets for fast tests and for the toys that the audit breaks. They protect nothing; nothing else imports this
 * file, and no export point does. */
import { checkParameterRanges } from "./parameter-set.ts";
import { DEFAULT_PARAMETERS, type Parameters, type ParametersLiteral } from "./parameters.ts";

/** The default set with some fields replaced, under a name that starts with "insecure"; only the 128-bit floor is waived. */
export function insecureParameters(changes: Partial<Omit<ParametersLiteral, "name">>): Parameters {
  return checkParameterRanges({ ...DEFAULT_PARAMETERS, ...changes, name: "insecure-test" });
}

/** A ring that a BigInt oracle multiplies in a millisecond. */
export const insecureTinyRing = insecureParameters({ ringDegree: 64, keyLength: 48 });

/** A key so short that LLL solves it at once. */
export const insecureShortKey = insecureParameters({ keyLength: 64 });
