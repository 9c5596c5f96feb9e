/**
 * Sealed output: W = round(B·A/scale) has thousands of rows and the rank of A. Some columns, asked one by one, give the
 * space that all lie in. After that a column has r unknowns, and its low bits in many rows fix them:
 *
 *   T = Σ_i 2^(d·i)·W_{·,j_i} mod 2^b0,   d bits for each of b0/d columns in one query
 *   T mod 2^d = W_{·,j_0} mod 2^d; with x = the column's entries in r rows, and G the other rows in terms of these,
 *   G·x ≡ T (mod 2^d) up to rounding: a closest-vector problem of some 30 dimensions (Lagarias, Odlyzko 1985)
 *
 * The column is subtracted, and the next one's low bits come to the end. n·h_A/b0, which counts rows alone, is no bound.
 */
import type { Attack, AttackContext } from "../attack.ts";
import { closestRest } from "../lattice/closest-vector.ts";
import { type GramSchmidt, lllReduce } from "../lattice/lll.ts";
import { cholesky, gram, solveCholesky } from "../linear-algebra.ts";
import { scoreCopy } from "../score.ts";
import { percent } from "../show.ts";

/** Columns that are asked one by one: enough to see ranks up to MOST_RANK through the rounding. */
const LEARNED = 24;
const MOST_RANK = 16;
/** Bits of a column that a query carries at least. */
const LEAST_BITS = 4;
/** Smaller pivots are rounding. */
const LEAST_PIVOT = 8;
/** Deviation of an entry from what the others say: rounding, a few times. */
const DEVIATION = 0.7;
const SLACK_BITS = 10;
/** The lattice's entries are integers. */
const SCALE = 2 ** 20;

async function run({ view, truth, open, activations, maxQueries, signal }: AttackContext) {
  const { inFeatures: n, replyBits, spec, rows, weightBits, weightEntropy } = view;
  if (spec.output !== "sealed" || maxQueries < n || n <= 2 * LEARNED) return [];
  const oracle = await open();
  const estimate = new Float64Array(rows * n);
  const ask = async (columns: readonly number[]) => {
    const replies = await oracle.ask(columns.length, (t, words) => {
      words[columns[t]] = 2 ** (32 - weightBits);
    });
    for (const [t, column] of columns.entries()) {
      for (let r = 0; r < rows; r++)
        estimate[r * n + column] = Math.round((replies[t * rows + r] | 0) / 2 ** (32 - weightBits));
    }
  };
  const learned = Array.from({ length: LEARNED }, (_, t) => Math.floor((t * n) / LEARNED));
  await ask(learned);
  const together = Math.floor(replyBits / LEAST_BITS);
  const modulus = 2 ** Math.floor(replyBits / together);
  const spaces: ModuleSpace[] = [];
  let first = 0;
  for (const module of spec.modules) {
    const known = Float64Array.from({ length: module.rows * LEARNED }, (_, i) => {
      return estimate[(first + Math.floor(i / LEARNED)) * n + learned[i % LEARNED]];
    });
    const space = spaceOf(known, first, module.rows, modulus);
    if (space === undefined) return [];
    spaces.push(space);
    first += module.rows;
  }
  const rest = Array.from({ length: n }, (_, j) => j).filter((j) => !learned.includes(j));
  const queries = Math.ceil(rest.length / together);
  const replies = await oracle.ask(queries, (t, words) => {
    for (let i = 0; i < together && t * together + i < rest.length; i++)
      words[rest[t * together + i]] = 2 ** (32 - replyBits) * modulus ** i;
  });
  const failed: number[] = [];
  for (let t = 0; t < queries; t++) {
    signal?.throwIfAborted();
    const left = Float64Array.from(
      replies.subarray(t * rows, (t + 1) * rows),
      (word) => word / 2 ** (32 - replyBits),
    );
    const columns = rest.slice(t * together, (t + 1) * together);
    for (const [i, column] of columns.entries()) {
      const low = left.map((value) => ((value % modulus) + modulus) % modulus);
      const values = new Float64Array(rows);
      if (!spaces.every((space) => decode(space, low, modulus, values))) {
        failed.push(...columns.slice(i));
        break;
      }
      for (let r = 0; r < rows; r++) {
        estimate[r * n + column] = values[r];
        left[r] = (left[r] - values[r]) / modulus;
      }
    }
  }
  if (failed.length > 0) await ask(failed);
  const point = scoreCopy(view, truth, activations[0].heldOut, oracle.asked, estimate);
  const bound = (n * weightEntropy) / replyBits;
  return [
    {
      attack: "lowrank",
      variant: `${together} columns a query`,
      points: [point],
      facts: { queries: oracle.asked, rowBound: bound, exact: point.exact, failedColumns: failed.length },
      finding:
        `${oracle.asked} queries gave ${percent(point.exact)} of the weights: rows alone would take ` +
        `${bound.toFixed(0)}, but the matrix has rank ${spaces.map(({ pivots }) => pivots.length).join(", ")}`,
    },
  ];
}

/** What the columns of one module have in common. */
interface ModuleSpace {
  /** Its rows in the group. */
  readonly first: number;
  readonly rows: number;
  /** r of them that tell the others. */
  readonly pivots: readonly number[];
  /** (rows, r): the others in terms of the pivots. */
  readonly others: Float64Array;
  /** Typical size of the entries in the pivots. */
  readonly sizes: readonly number[];
  /** Rows whose low bits are looked at. */
  readonly samples: readonly number[];
  readonly basis: readonly Float64Array[];
  readonly gramSchmidt: GramSchmidt;
}

/** @param known (rows, LEARNED) @returns undefined if the rank is not low */
function spaceOf(known: Float64Array, first: number, rows: number, modulus: number): ModuleSpace | undefined {
  const pivots = pivotRows(known, rows);
  const rank = pivots.length;
  if (rank > MOST_RANK || rank >= rows) return undefined;
  const x = Float64Array.from({ length: rank * LEARNED }, (_, i) => {
    return known[pivots[Math.floor(i / LEARNED)] * LEARNED + (i % LEARNED)];
  });
  // Least squares: row ≈ g·x over the learned columns.
  const factor = gram(x, rank, LEARNED);
  cholesky(factor, rank, 0);
  const others = new Float64Array(rows * rank);
  for (let r = 0; r < rows; r++) {
    const products = Float64Array.from({ length: rank }, (_, k) => {
      let sum = 0;
      for (let t = 0; t < LEARNED; t++) sum += known[r * LEARNED + t] * x[k * LEARNED + t];
      return sum;
    });
    others.set(solveCholesky(factor, rank, rank, products), r * rank);
  }
  const sizes = pivots.map(
    (_, k) => Math.hypot(...x.subarray(k * LEARNED, (k + 1) * LEARNED)) / Math.sqrt(LEARNED),
  );
  const unknown = sizes.reduce((sum, size) => sum + Math.max(0, Math.log2((4.13 * size) / modulus)), 0);
  const needed = Math.ceil((unknown + SLACK_BITS) / Math.log2(modulus / (4.13 * DEVIATION)));
  const free = Array.from({ length: rows }, (_, r) => r).filter((r) => !pivots.includes(r));
  const step = Math.max(1, Math.floor(free.length / needed));
  const samples = free.filter((_, i) => i % step === 0).slice(0, needed);
  const basis = [
    ...samples.map((_, i) => unitRow(samples.length + rank, i, (SCALE * modulus) / DEVIATION)),
    ...pivots.map((_, k) => {
      const row = unitRow(samples.length + rank, samples.length + k, (SCALE * modulus) / sizes[k]);
      for (const [i, r] of samples.entries())
        row[i] = Math.round((SCALE * modulus * others[r * rank + k]) / DEVIATION);
      return row;
    }),
  ];
  return { first, rows, pivots, others, sizes, samples, basis, gramSchmidt: lllReduce(basis) };
}

function unitRow(length: number, at: number, value: number): Float64Array {
  const row = new Float64Array(length);
  row[at] = Math.round(value);
  return row;
}

/** Rows by elimination with the largest entry first, until what is left is rounding. */
function pivotRows(known: Float64Array, rows: number): number[] {
  const left = known.slice();
  const pivots: number[] = [];
  while (pivots.length < LEARNED) {
    let at = 0;
    for (let i = 1; i < left.length; i++) if (Math.abs(left[i]) > Math.abs(left[at])) at = i;
    if (Math.abs(left[at]) < LEAST_PIVOT) break;
    const [row, column] = [Math.floor(at / LEARNED), at % LEARNED];
    const pivot = left.slice(row * LEARNED, (row + 1) * LEARNED);
    pivots.push(row);
    for (let r = 0; r < rows; r++) {
      const part = left[r * LEARNED + column] / pivot[column];
      for (let t = 0; t < LEARNED; t++) left[r * LEARNED + t] -= part * pivot[t];
    }
  }
  return pivots;
}

/** The column with these low bits, into `values`; false if none fits well. @param low (R), below the modulus */
function decode(space: ModuleSpace, low: Float64Array, modulus: number, values: Float64Array): boolean {
  const { first, rows, pivots, others, sizes, samples, basis, gramSchmidt } = space;
  const rank = pivots.length;
  const at = (r: number, x: ArrayLike<number>) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += others[r * rank + k] * x[k];
    return sum;
  };
  const lowPivots = pivots.map((r) => low[first + r]);
  const target = Float64Array.from([
    ...samples.map((r) => (SCALE * (at(r, lowPivots) - low[first + r])) / DEVIATION),
    ...lowPivots.map((value, k) => (SCALE * value) / sizes[k]),
  ]);
  const short = closestRest(basis, gramSchmidt, target);
  const nearest = (value: number, residue: number) =>
    residue + modulus * Math.round((value - residue) / modulus);
  const x = lowPivots.map((value, k) => nearest((short[samples.length + k] * sizes[k]) / SCALE, value));
  let off = 0;
  for (let r = 0; r < rows; r++) {
    const guess = at(r, x);
    values[first + r] = nearest(guess, low[first + r]);
    off += Math.abs(guess - values[first + r]);
  }
  // Of a wrong column they would be a quarter of the modulus off.
  return off / rows < modulus / 8;
}

export const lowRank: Attack = {
  name: "lowrank",
  title: "sealed output: columns from the low bits of all rows",
  source: "Lagarias, Odlyzko 1985",
  run,
};
