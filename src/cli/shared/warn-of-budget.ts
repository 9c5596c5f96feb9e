/** A word of warning before a budget ends. */
import { grouped } from "../../base/show-number.ts";
import type { OpenedModel } from "./source.ts";
import { warn } from "./terminal.ts";

/** Warned is from this share of the budget on. */
const LITTLE_LEFT = 0.1;

export function warnOfBudget({ remote }: OpenedModel): void {
  const budget = remote?.provider.budget;
  if (budget === undefined || budget.left > LITTLE_LEFT * budget.vectors) return;
  const per = budget.windowSeconds === 0 ? "" : ` every ${budget.windowSeconds} s`;
  warn(
    `${grouped(budget.left)} tokens are left of the provider's budget of ${grouped(budget.vectors)}${per}`,
  );
}
