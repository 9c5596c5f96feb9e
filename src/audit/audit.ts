/**
 * The extraction audit: attacks on one provider, through the public client alone, scored against the adapter that its
 * owner has. No attack gets the truth; scores do. @module
 */
import { securityOf } from "../rlwe/parameter-security.ts";
import type { Parameters } from "../rlwe/parameters.ts";
import type { Attack, AttackContext, AttackResult } from "./attack.ts";
import type { GroupReport, SecurityRow } from "./report.ts";

/** Runs attacks on one group. @param onProgress attacks that are done */
export async function auditGroup(
  context: AttackContext,
  attacks: readonly Attack[],
  onProgress: (done: number) => void = () => {},
): Promise<GroupReport> {
  const { view } = context;
  const results: AttackResult[] = [];
  for (const [i, attack] of attacks.entries()) {
    onProgress(i);
    context.signal?.throwIfAborted();
    results.push(...(await attack.run(context)));
  }
  onProgress(attacks.length);
  return {
    group: view.index,
    modules: view.spec.modules.map(({ name }) => name),
    inFeatures: view.inFeatures,
    rows: view.rows,
    weightEntropy: view.weightEntropy,
    functionQueries: view.functionQueries,
    attacks: results,
  };
}

/** The lattice problems of a parameter set. */
export function securityRows(parameters: Parameters): SecurityRow[] {
  const { user, freshKey, wornKey, wornKeys, keyDifference } = securityOf(parameters);
  const rows = {
    "client's query": user,
    "unused key": freshKey,
    "worn-out key": wornKey,
    "one of 2^30 of them": wornKeys,
    "two worn keys": keyDifference,
  };
  return Object.entries(rows).map(([what, e]) => ({
    what,
    attack: e.attack,
    beta: e.beta,
    coreBits: e.coreBits,
    standardBits: e.standardBits,
  }));
}
