// Traces of stolen copies: scores against vectors asked, colluders by what they do, and what a thief does to a copy. No
// times: figures of docs/audit.md, *Marks*.
import { utf8 } from "../src/base/bytes.ts";
import { gram, cholesky, solveCholesky } from "../src/audit/linear-algebra.ts";
import { gaussians } from "../src/audit/random-numbers.ts";
import { seededAdapter, seededSource } from "../src/audit/seeded-adapter.ts";
import { ASKED_ONCE, CHANGES, type StolenCopy, strategies } from "../src/audit/stolen-copies.ts";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { groupMark } from "../src/pll/marks.ts";
import { predictedRelativeError } from "../src/pll/noise.ts";
import { loadServedAdapter } from "../src/provider/provider.ts";
import { DEFAULT_PARAMETERS } from "../src/rlwe/parameters.ts";
import type { Suspect } from "../src/trace/suspect.ts";
import { traceCopy, type TraceReport } from "../src/trace/trace.ts";
import { memoryFileTree } from "../src/weights/memory-files.ts";
import { type BenchOptions, markdownTable, type Section } from "./harness.ts";

const RANK = 8;
const ACCOUNTS = Array.from({ length: 64 }, (_, i) => `account-${i}`);

export async function run({ quick }: BenchOptions): Promise<Section[]> {
  const sections: Section[] = [];
  for (const n of quick ? [896] : [896, 4096]) sections.push(...(await tablesOf(n)));
  return sections;
}

async function tablesOf(n: number): Promise<Section[]> {
  const { suspect, copyOf, ordinary, weights, served } = await targetOf(n);
  const trace = (copy: StolenCopy) => traceCopy(served, ACCOUNTS, suspect(copy));
  const asked: string[][] = [];
  for (const part of [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]) {
    const report = await trace(copyOf("account-3", ASKED_ONCE, part));
    asked.push([
      "unit queries",
      `${Math.round(part * n)}`,
      Math.sqrt(1 - part).toFixed(2),
      ...shown(report, ["account-3"]),
    ]);
  }
  for (const part of n > 1000 ? [1 / 8, 1 / 4] : [1 / 4, 1 / 2, 3 / 4]) {
    const count = Math.round(part * n);
    const { copy, error } = ordinary("account-3", count);
    asked.push([
      "white vectors, least squares",
      `${count}`,
      error.toFixed(2),
      ...shown(await trace(copy), ["account-3"]),
    ]);
  }
  const changed: string[][] = [];
  for (const [name, change] of Object.entries(CHANGES)) {
    const report = await trace(copyOf("account-3", ASKED_ONCE).map((values) => change(values)));
    changed.push([name, ...shown(report, ["account-3"])]);
  }
  changed.push(["the adapter itself", ...shown(await trace(weights.map((w) => Float64Array.from(w))), [])]);
  changed.push([
    "another account's, not in the list",
    ...shown(await trace(copyOf("somebody", ASKED_ONCE)), []),
  ]);
  const colluders: string[][] = [];
  for (const count of [2, 4, 8, 16]) {
    const guilty = ACCOUNTS.slice(0, count);
    const copies = guilty.map((account) => copyOf(account, ASKED_ONCE / 4));
    for (const [name, copy] of strategies(copies, weights)) {
      colluders.push([`${count}`, name, ...shown(await trace(copy), guilty)]);
    }
  }
  const head = `n = ${n}, rank ${RANK}, ${ACCOUNTS.length} accounts`;
  const verdict = ["score", "named", "wrongly named"];
  return [
    {
      title: `A copy by one account, ${head}`,
      body: markdownTable(["attack", "vectors", "error of the copy", ...verdict], asked),
    },
    { title: `What is done to a whole copy, ${head}`, body: markdownTable(["copy", ...verdict], changed) },
    {
      title: `Colluding accounts that asked each column 16 times, ${head}`,
      body: markdownTable(["accounts", "they", ...verdict], colluders),
    },
  ];
}

/** Highest score of the guilty, how many of them are named, and others who are. */
function shown({ accounts }: TraceReport, guilty: readonly string[]): string[] {
  const named = accounts.filter(({ isNamed }) => isNamed).map(({ account }) => account);
  const best = accounts.find(({ account }) => guilty.length === 0 || guilty.includes(account));
  const right = named.filter((account) => guilty.includes(account)).length;
  return [
    best?.score.toFixed(1) ?? "",
    guilty.length === 0 ? "" : `${right} of ${guilty.length}`,
    `${named.length - right}`,
  ];
}

async function targetOf(n: number) {
  const input = { adapter: "seeded", baseFingerprint: new Uint8Array(32), ...seededAdapter(n, RANK, n) };
  const made = await createBundle(input, seededSource(7));
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  const served = await loadServedAdapter(memoryFileTree(files, "state"), { marks: true });
  const { groups, parameters } = made.manifest;
  const weights = served.layers.map((layer) => layer.copyInput().weights);
  const random = seededSource(11);
  const marked = (account: string) =>
    served.layers[0]
      .markOf(groupMark(parameters, served.markSecret!, utf8(account), 0))
      .map((mark, i) => mark + weights[0][i]);
  return {
    served,
    weights,
    /** With an error of so many units on the first part of the columns, 0 elsewhere. */
    copyOf(account: string, error: number, part = 1): StolenCopy {
      const own = marked(account);
      const noise = gaussians(random, own.length);
      return [Float64Array.from(own, (value, i) => (i % n < part * n ? value + error * noise[i] : 0))];
    },
    /** The least-norm copy that explains the answers to `count` white vectors. */
    ordinary(account: string, count: number): { copy: StolenCopy; error: number } {
      const own = marked(account);
      const x = Float64Array.from(gaussians(random, count * n));
      const noise =
        predictedRelativeError(DEFAULT_PARAMETERS, n) *
        (DEFAULT_PARAMETERS.rowNorm / Math.sqrt(n)) *
        Math.sqrt(n);
      const errors = gaussians(random, count * RANK);
      const y = new Float64Array(count * RANK);
      for (let t = 0; t < count; t++) {
        for (let r = 0; r < RANK; r++) {
          let sum = noise * errors[t * RANK + r];
          for (let j = 0; j < n; j++) sum += own[r * n + j] * x[t * n + j];
          y[t * RANK + r] = sum;
        }
      }
      const g = gram(x, count, n);
      cholesky(g, count, 1e-9);
      const copy = new Float64Array(RANK * n);
      for (let r = 0; r < RANK; r++) {
        const answers = Float64Array.from({ length: count }, (_, t) => y[t * RANK + r]);
        const factors = solveCholesky(g, count, count, answers);
        for (let t = 0; t < count; t++) {
          for (let j = 0; j < n; j++) copy[r * n + j] += factors[t] * x[t * n + j];
        }
      }
      let [off, size] = [0, 0];
      for (let i = 0; i < copy.length; i++) {
        off += (copy[i] - own[i]) ** 2;
        size += own[i] ** 2;
      }
      return { copy: [copy], error: Math.sqrt(off / size) };
    },
    suspect: (copy: StolenCopy): Suspect => ({
      async differenceOf() {
        const { bases, scales } = served.bundle.groups[0];
        const right = Float32Array.from(copy[0], (value, i) => value * scales[Math.floor(i / n)]);
        const { outFeatures } = groups[0].modules[0];
        return { outFeatures, inFeatures: n, rank: RANK, left: bases[0], right };
      },
    }),
  };
}
