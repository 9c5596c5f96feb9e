/** Every attack of the audit that makes a copy, by an account that is marked, and what a trace makes of the copy. */
import { expect, it } from "vitest";
import { auditTarget } from "../../test/support/audit-target.ts";
import type { Attack } from "../audit/attack.ts";
import { collusion } from "../audit/attacks/collusion.ts";
import { guessableInit } from "../audit/attacks/guessable-init.ts";
import { ordinaryPrompts } from "../audit/attacks/ordinary-prompts.ts";
import { packedQueries } from "../audit/attacks/packed-queries.ts";
import { principalQueries } from "../audit/attacks/principal-directions.ts";
import { unitQueries } from "../audit/attacks/unit-queries.ts";
import { loadServedAdapter } from "../provider/provider.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import type { Suspect } from "./suspect.ts";
import { traceCopy } from "./trace.ts";

const N = 640;
const RANK = 8;

/** Score of the copy after so many vectors, by an account of the attack; who else is named. */
async function traced(attack: Attack, n = N) {
  const { context, made, bundle } = await auditTarget(n, {
    rank: RANK,
    maxQueries: Math.ceil(1.25 * n),
    marks: true,
  });
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  const served = await loadServedAdapter(memoryFileTree(files, "state"), { marks: true });
  const copies: { readonly queries: number; readonly copy: Float64Array }[] = [];
  const truth = {
    ...context.truth,
    onCopy: (queries: number, copy: Float64Array) => void copies.push({ queries, copy: copy.slice() }),
  };
  let opened = 0;
  const open = () => {
    opened++;
    return context.open();
  };
  await attack.run({ ...context, truth, open });
  const { bases, scales } = bundle.groups[0];
  const points = [];
  for (const { queries, copy } of copies) {
    const suspect: Suspect = {
      async differenceOf() {
        const right = Float32Array.from(copy, (value, i) => value * scales[Math.floor(i / n)]);
        return { outFeatures: n, inFeatures: n, rank: RANK, left: bases[0], right };
      },
    };
    const accounts = Array.from({ length: opened + 40 }, (_, i) => `account ${i}`);
    const report = await traceCopy(served, accounts, suspect);
    const guilty = (name: string) => Number(name.split(" ")[1]) < opened;
    const best = Math.max(
      ...report.accounts.filter(({ account }) => guilty(account)).map(({ score }) => score),
    );
    const wrong = report.accounts.filter(({ account, isNamed }) => isNamed && !guilty(account));
    points.push({ queries, best, isNamed: report.accounts[0].isNamed, wrong: wrong.length });
  }
  const shown = points.map(({ queries, best }) => `${best.toFixed(1)} after ${queries}`);
  console.log(`${attack.name}: ${shown.join(", ")}`);
  expect(points.length, "the attack makes copies").toBeGreaterThan(0);
  expect(points.filter(({ wrong }) => wrong > 0)).toEqual([]);
  return points;
}

it.each([unitQueries, collusion, ordinaryPrompts])(
  "$name: a whole copy names who made it",
  async (attack) => {
    const points = await traced(attack);
    expect(points[points.length - 1].isNamed).toBe(true);
    expect(points[points.length - 1].best).toBeGreaterThan(attack === unitQueries ? 20 : 8);
  },
);

// These do not get a whole copy here: as many answers as unknowns, or fewer.
it.each([packedQueries, principalQueries, guessableInit])(
  "$name: nobody is named who did not ask",
  async (attack) => {
    await traced(attack);
  },
);
