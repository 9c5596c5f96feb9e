/** From what was measured to b0 and a budget. */
import type { EffectRow } from "./answer-effects.ts";
import type { GroupBudget, GroupReport, Recommendation } from "./report.ts";

/** Share of next tokens that must stay as they are. */
const AGREEMENT = 0.995;
/** Copies whose premise is that the thief holds A already are no measure for budgets. */
const PREMISED = "init";

/** @param b0 the product's */
export function recommend(
  groups: readonly GroupReport[],
  effects: readonly EffectRow[],
  b0: number,
): Recommendation {
  const good = effects.flatMap(({ precision, agreement }) =>
    precision !== undefined && precision.weightErrorBits === 0 && agreement >= AGREEMENT
      ? [precision.replyBits]
      : [],
  );
  const replyBits = Math.min(0, ...good);
  return { replyBits, queriesGained: b0 / (b0 + replyBits) - 1, budgets: groups.map(budgetOf) };
}

function budgetOf({ group, inFeatures, attacks, functionQueries }: GroupReport): GroupBudget {
  let attack = "";
  let halfError = Number.POSITIVE_INFINITY;
  let fifthError = Number.POSITIVE_INFINITY;
  for (const { attack: name, variant, points } of attacks) {
    if (name === PREMISED) continue;
    const half = firstBelow(points, 0.5);
    if (half < halfError) {
      halfError = half;
      attack = `${name}: ${variant}`;
    }
    fifthError = Math.min(fifthError, firstBelow(points, 0.2));
  }
  const vectors = Math.floor(Math.min(halfError, functionQueries / 2));
  return { group, inFeatures, halfError, fifthError, attack, vectors };
}

/** Queries at which a curve crosses a level, between points on a straight line; infinity if it never does. */
function firstBelow(points: readonly { queries: number; deltaError: number }[], level: number): number {
  let before = { queries: 0, deltaError: 1 };
  for (const point of points) {
    if (point.deltaError <= level) {
      const part = (before.deltaError - level) / (before.deltaError - point.deltaError || 1);
      return Math.round(before.queries + part * (point.queries - before.queries));
    }
    before = point;
  }
  return Number.POSITIVE_INFINITY;
}
