import { expect, it } from "vitest";
import { BudgetWatch } from "./budget-left.ts";

it("follows what a provider says is left, over a reconnection and into a new window", () => {
  const watch = new BudgetWatch();
  expect(watch.now).toBeUndefined();
  watch.answered(0, undefined);
  expect(watch.now).toBeUndefined();
  const budget = { vectors: 100, windowSeconds: 60, left: 50 };
  watch.welcomed(budget);
  expect(watch.now).toEqual(budget);
  watch.answered(0, 70);
  expect(watch.now?.left).toBe(50);
  watch.answered(1, 49);
  watch.answered(0, 69);
  expect(watch.now?.left).toBe(49);
  watch.answered(1, 99); // a new window: what was left of the old one says nothing
  expect(watch.now?.left).toBe(99);
  watch.answered(0, 95);
  expect(watch.now?.left).toBe(95);
  watch.welcomed({ ...budget, left: 7 });
  expect(watch.now?.left).toBe(7);
  watch.welcomed(undefined);
  expect(watch.now).toBeUndefined();
});
