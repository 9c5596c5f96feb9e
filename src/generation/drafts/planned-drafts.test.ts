import { expect, it } from "vitest";
import type { CausalLm } from "../../model/causal-lm.ts";
import type { DraftContext } from "./drafting.ts";
import { PlannedDrafts } from "./planned-drafts.ts";

/** Drafts whatever it is asked for. */
const model = (vectorsLeft: number | undefined) =>
  ({
    canDraft: true,
    roomBehind: (context: number) => 10_000 - context,
    timings: { modelMs: 0 },
    expectedMs: () => 10,
    deltas: { groups: [], vectorsLeft },
    draft: async (_: unknown, { most }: { most: number }) => Array.from({ length: most }, () => 1),
  }) as unknown as CausalLm;

/** Rows of each pass, if so many drafts of each are right. */
async function rowsOf(
  accepted: readonly number[],
  drafts: number,
  vectorsLeft: number | undefined,
): Promise<number[]> {
  const planned = new PlannedDrafts(model(vectorsLeft), { drafts });
  const cache = { length: 100, adaptedFrom: 0 };
  const rows: number[] = [];
  for (const right of accepted) {
    const context = { ids: [5, 6, 7], next: [7], cache, choose: () => 1 } as unknown as DraftContext;
    const made = await planned.draft(context, 100);
    rows.push(1 + made.length);
    const chosen = [...made.slice(0, right), 9];
    planned.passed({ drafts: made, chosen, ms: 10 });
    cache.length += chosen.length;
  }
  return rows;
}

it.each([undefined, 5000])(
  "passes of a plan have as many rows whatever was accepted, with %s vectors left",
  async (left) => {
    for (const drafts of [1, 4]) {
      for (let seed = 0; seed < 50; seed++) {
        const accepted = Array.from({ length: 24 }, (_, i) => ((seed + 1) * (i + 3) * 7919) % (drafts + 1));
        const rows = await rowsOf(accepted, drafts, left);
        for (let plan = 0; plan < 24; plan += 8)
          expect(new Set(rows.slice(plan, plan + 8)).size, `${rows}`).toBe(1);
        // What a budget has comes into it from one plan to the next.
        if (left === undefined) expect(new Set(rows)).toEqual(new Set([drafts + 1]));
      }
    }
  },
);

it("wrong drafts cost no more than the draft budget, at any time", async () => {
  const none = Array.from({ length: 64 }, () => 0);
  const rows = await rowsOf(none, 8, 5000);
  let wasted = 0;
  for (const [pass, count] of rows.entries()) {
    wasted += count - 1;
    expect(wasted).toBeLessThanOrEqual(pass + 1);
  }
  expect(wasted).toBeGreaterThan(20);
});
