/** The budgets that hold for an account: those of all its valid keys, whichever of them asks. */
import { keyAllows } from "./api-keys.ts";
import type { Grant, KeyRecord } from "./store.ts";

/** Budgets of the keys that may ask an adapter now. Empty: nothing limits the account. */
export function budgetsOf(keys: readonly KeyRecord[], adapter: string, nowMs: number): readonly Grant[] {
  const budgets: Grant[] = [];
  for (const key of keys) {
    if (key.budget !== null && keyAllows(key, adapter, nowMs)) budgets.push(key.budget);
  }
  return budgets;
}

export function keysByAccount(keys: Iterable<KeyRecord>): Map<string, KeyRecord[]> {
  const byAccount = new Map<string, KeyRecord[]>();
  for (const key of keys) {
    const others = byAccount.get(key.account);
    if (others === undefined) byAccount.set(key.account, [key]);
    else others.push(key);
  }
  return byAccount;
}
