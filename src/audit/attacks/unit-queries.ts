/**
 * Chosen unit queries: v = 2^(32−w)·e_j gives W_j in every row, exactly, in one reply.
 *
 *   2^(32−w)·W_j mod 2^32 has W_j in its top w ≤ b0 bits, and no secret, error or padding takes part.
 *
 * Source: our own; for linear layers in general Tramèr et al., "Stealing machine learning models via
 * prediction APIs", USENIX Security 2016, §4.1. After Q queries the error of an unstructured W is √(1 − Q/n).
 */
import type { Attack, AttackContext } from "../attack.ts";
import { checkpoints, scoreCopy } from "../score.ts";
import { grouped, percent } from "../show.ts";

/** Unit queries that are asked again under masks, to show that the provider could not tell. */
const MASKED = 16;

async function run({ view, truth, open, activations, maxQueries }: AttackContext) {
  const { inFeatures: n, rows, weightBits } = view;
  const oracle = await open();
  const estimate = new Float64Array(rows * n);
  const points = [];
  const unit = 2 ** (32 - weightBits);
  let done = 0;
  let right = 0;
  for (const queries of checkpoints(Math.min(n, maxQueries))) {
    const replies = await oracle.ask(queries - done, (t, words) => {
      words[done + t] = unit;
    });
    readUnits(replies, rows, weightBits, (t, r, value) => {
      estimate[r * n + done + t] = value;
      if (value === truth.integers[r * n + done + t]) right++;
    });
    done = queries;
    points.push(scoreCopy(view, truth, activations[0].heldOut, oracle.asked, estimate));
  }
  const masked = await maskedUnits({ view, truth, open }, unit);
  const exact = right / (rows * done);
  return [
    {
      attack: "unit",
      variant: "one weight a query",
      points,
      facts: { exactOfAsked: exact, maskedExact: masked },
      finding:
        `${done} queries gave ${percent(exact)} of the ${grouped(done * rows)} weights that were ` +
        `asked for; hidden under masks, as honest queries are, ${percent(masked)}`,
    },
  ];
}

/** Share of weights that unit queries give which look like honest ones. */
async function maskedUnits(
  { view, truth, open }: Pick<AttackContext, "view" | "truth" | "open">,
  unit: number,
): Promise<number> {
  const { rows, inFeatures: n, weightBits } = view;
  const count = Math.min(MASKED, n);
  const oracle = await open();
  const replies = await oracle.askMasked(count, (t, words) => {
    words[t] = unit;
  });
  let right = 0;
  readUnits(replies, rows, weightBits, (t, r, value) => {
    if (value === truth.integers[r * n + t]) right++;
  });
  return right / (count * rows);
}

function readUnits(
  replies: Uint32Array,
  rows: number,
  bits: number,
  take: (t: number, r: number, value: number) => void,
): void {
  for (const [i, word] of replies.entries()) {
    take(Math.floor(i / rows), i % rows, Math.round((word | 0) / 2 ** (32 - bits)));
  }
}

export const unitQueries: Attack = {
  name: "unit",
  title: "chosen unit queries",
  source: "Tacet's own; Tramèr et al. 2016, §4.1",
  run,
};
