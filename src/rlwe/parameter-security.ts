/** The security of a parameter set, and the floor that createParameters enforces. */
import { TacetError } from "../base/errors.ts";
import { estimateAttacks, estimateLwe, type LweEstimate, type LweInstance } from "./lattice-estimate.ts";
import type { Parameters } from "./parameter-set.ts";
import { maxLogQ } from "./security-table.ts";

/** Bits that both instances must have in the HE-standard cost model. */
export const SECURITY_FLOOR = 128;

/** Variance of a uniform ternary entry: 2/3. */
const TERNARY_STDDEV = Math.sqrt(2 / 3);

export interface ParameterSecurity {
  /** v = C·s + e: what protects the client's activations, with as many samples as help an attacker. */
  readonly user: LweEstimate;
  /** H = P·C_pad + E + …: what protects the provider's weights from the hint alone, before any query. */
  readonly hint: LweEstimate;
}

/** Both attacks on one instance, and the cheaper one. */
export interface AttackEstimates {
  readonly best: LweEstimate;
  readonly primal: LweEstimate;
  readonly dual: LweEstimate;
}

const known = new WeakMap<Parameters, ParameterSecurity>();

/** Estimates for both LWE instances, computed once per set. */
export function securityOf(p: Parameters): ParameterSecurity {
  const cached = known.get(p);
  if (cached !== undefined) return cached;
  const { user, hint } = instancesOf(p);
  const security = { user: estimateLwe(user), hint: estimateLwe(hint) };
  known.set(p, security);
  return security;
}

/** As {@link securityOf}, each attack by itself. */
export function attacksOn(p: Parameters): { readonly user: AttackEstimates; readonly hint: AttackEstimates } {
  const best = securityOf(p);
  const { user, hint } = instancesOf(p);
  return {
    user: { best: best.user, ...estimateAttacks(user) },
    hint: { best: best.hint, ...estimateAttacks(hint) },
  };
}

function instancesOf(p: Parameters): { user: LweInstance; hint: LweInstance } {
  const { ringDegree, logQ } = p;
  const paddingValues = p.paddingHigh - p.paddingLow + 1;
  return {
    user: {
      dimension: ringDegree,
      logQ,
      secretStddev: TERNARY_STDDEV,
      errorStddev: Math.sqrt(p.errorEta / 2),
      samples: Number.POSITIVE_INFINITY,
    },
    hint: {
      dimension: p.paddingLength,
      logQ,
      secretStddev: Math.sqrt((paddingValues ** 2 - 1) / 12),
      errorStddev: p.hintErrorStddev,
      samples: ringDegree, // a row of H has N words
    },
  };
}

/** @throws TacetError bad_argument if the tables or the estimates say less than 128 bits */
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
  const { user, hint } = securityOf(p);
  refuseBelowFloor(user, "errorEta", "user encryption");
  refuseBelowFloor(hint, "paddingLength, paddingLow, paddingHigh, hintErrorStddev", "hint");
}

function refuseBelowFloor(estimate: LweEstimate, fields: string, what: string): void {
  // Negated, so that a NaN is refused too.
  if (!(estimate.standardBits >= SECURITY_FLOOR)) {
    throw new TacetError(
      "bad_argument",
      `parameters: ${what} has ${estimate.standardBits.toFixed(1)} bits, at least ${SECURITY_FLOOR} are required`,
      { hint: `raise the security through ${fields}` },
    );
  }
}
