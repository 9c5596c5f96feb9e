/**
 * Several accounts that share what they get. One bundle and one rotation serve all clients, so replies of all accounts
 * are about the same W and simply add up: k accounts with Q/k queries each know what one knows with Q.
 *
 * Source: our own. A budget for each account bounds a module group only if accounts are few; pool them.
 */
import type { Attack, AttackContext } from "../attack.ts";
import { checkpoints, scoreCopy } from "../score.ts";
import { percent } from "../show.ts";

const ACCOUNTS = 4;

async function run({ view, truth, open, activations, maxQueries }: AttackContext) {
  const { inFeatures: n, rows, weightBits } = view;
  const accounts = await Promise.all(Array.from({ length: ACCOUNTS }, open));
  const estimate = new Float64Array(rows * n);
  const unit = 2 ** (32 - weightBits);
  const total = Math.min(n, maxQueries);
  const points = [];
  let done = 0;
  let right = 0;
  for (const queries of checkpoints(total)) {
    const from = done;
    await Promise.all(
      accounts.map(async (oracle, a) => {
        const columns = Array.from({ length: queries - from }, (_, i) => from + i).filter(
          (j) => j % ACCOUNTS === a,
        );
        if (columns.length === 0) return;
        const replies = await oracle.ask(columns.length, (t, words) => {
          words[columns[t]] = unit;
        });
        for (const [i, word] of replies.entries()) {
          const at = (i % rows) * n + columns[Math.floor(i / rows)];
          estimate[at] = Math.round((word | 0) / unit);
          if (estimate[at] === truth.integers[at]) right++;
        }
      }),
    );
    done = queries;
    points.push(scoreCopy(view, truth, activations[0].heldOut, done, estimate));
  }
  const most = Math.max(...accounts.map(({ asked }) => asked));
  return [
    {
      attack: "collusion",
      variant: `${ACCOUNTS} accounts, their sum`,
      points,
      facts: { accounts: ACCOUNTS, queriesEach: most, exactOfAsked: right / (rows * done) },
      finding:
        `${ACCOUNTS} accounts with at most ${most} queries each together know ${percent(right / (rows * done))} of ` +
        `${done} columns, as one account with ${done} would`,
    },
  ];
}

export const collusion: Attack = {
  name: "collusion",
  title: "collusion of accounts",
  source: "Tacet's own",
  run,
};
