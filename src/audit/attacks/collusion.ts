/**
 * Several accounts that share what they get. One rotation serves all clients, so what all accounts ask is about the same W
 * and simply adds up: k accounts with Q/k queries each know what one knows with Q. Each has separate
 * keys with another S: those do not add up (attack `secret`).
 *
 * Source: our own. A budget for each account bounds a module group only if accounts are few; pool them.
 */
import type { Attack, AttackContext } from "../attack.ts";
import { checkpoints, scoreCopy } from "../score.ts";
import { percent } from "../../base/show-number.ts";
import { precision, unitShift } from "./unit-queries.ts";

const ACCOUNTS = 4;

async function run({ view, truth, open, activations, maxQueries }: AttackContext) {
  const { inFeatures: n, rows } = view;
  const accounts = await Promise.all(Array.from({ length: ACCOUNTS }, open));
  const estimate = new Float64Array(rows * n);
  const shift = unitShift(view);
  const total = Math.min(n, maxQueries);
  const points = [];
  let done = 0;
  for (const queries of checkpoints(total)) {
    const from = done;
    await Promise.all(
      accounts.map(async (oracle, a) => {
        const columns = Array.from({ length: queries - from }, (_, i) => from + i).filter(
          (j) => j % ACCOUNTS === a,
        );
        if (columns.length === 0) return;
        const words = await oracle.askFunctional(columns.length, shift, (t, z) => void (z[columns[t]] = 1));
        for (const [i, word] of words.entries()) {
          estimate[(i % rows) * n + columns[Math.floor(i / rows)]] = word / 2 ** shift;
        }
      }),
    );
    done = queries;
    points.push(scoreCopy(view, truth, activations[0].heldOut, done, estimate));
  }
  const most = Math.max(...accounts.map(({ asked }) => asked));
  const { known } = precision({ view, truth }, estimate, done);
  return [
    {
      attack: "collusion",
      variant: `${ACCOUNTS} accounts, their sum`,
      points,
      facts: { accounts: ACCOUNTS, queriesEach: most, knownOfAsked: known },
      finding:
        `${ACCOUNTS} accounts with at most ${most} queries each together know ${percent(known)} of ` +
        `${done} columns to within E, as one account with ${done} would`,
    },
  ];
}

export const collusion: Attack = {
  name: "collusion",
  title: "collusion of accounts",
  source: "Tacet's own",
  run,
};
