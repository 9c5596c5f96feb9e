/** Copies are traced to those who made them, and to nobody else. */
import { beforeAll, describe, expect, it } from "vitest";
import { lexicon } from "../../test/support/models.ts";
import { createBundle } from "../bundle/create-bundle.ts";
import { fitAdapter } from "../model/adapter/fit-adapter.ts";
import { utf8 } from "../base/bytes.ts";
import { groupMark } from "../pll/marks.ts";
import { loadServedAdapter, type ServedAdapter } from "../provider/provider.ts";
import { seededAdapter, seededSource } from "../audit/seeded-adapter.ts";
import { gaussians } from "../audit/random-numbers.ts";
import { fingerprintCheckpoint } from "../weights/fingerprint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import type { Suspect } from "./suspect.ts";
import { traceCopy } from "./trace.ts";

const ACCOUNTS = Array.from({ length: 40 }, (_, i) => `account-${i}`);
const EIGHT = ACCOUNTS.slice(0, 8);

/** What colluders know of W, each their own: (rows, n) of each group. */
type Copy = readonly Float64Array[];

interface Target {
  readonly name: string;
  readonly served: ServedAdapter;
  /** W + D of an account, known with an error of `error` units on the first `columns`, 0 elsewhere. */
  copyOf(account: string, error: number, columns?: number): Copy;
  /** A suspect: B′·(scale·copy), as matrices. */
  suspect(copy: Copy): Suspect;
  readonly weights: readonly Int32Array[];
}

async function target(
  name: string,
  make: () => Promise<Parameters<typeof createBundle>[0]>,
): Promise<Target> {
  const made = await createBundle(await make(), seededSource(7));
  const files = { "bundle.safetensors": made.bundle, "private.safetensors": made.privateState };
  const served = await loadServedAdapter(memoryFileTree(files, "state"), { marks: true });
  const { groups, parameters } = made.manifest;
  const weights = served.layers.map((layer) => layer.copyInput().weights);
  const random = seededSource(11);
  return {
    name,
    served,
    weights,
    copyOf: (account, error, columns = Number.POSITIVE_INFINITY) =>
      groups.map(({ inFeatures: n }, g) => {
        const marks = served.layers[g].markOf(groupMark(parameters, served.markSecret!, utf8(account), g));
        const noise = gaussians(random, marks.length);
        const known = Number.isFinite(columns) ? columns * n : n;
        return Float64Array.from(marks, (mark, i) =>
          i % n < known ? weights[g][i] + mark + error * noise[i] : 0,
        );
      }),
    suspect: (copy) => ({
      async differenceOf(module) {
        for (const [g, { modules, inFeatures }] of groups.entries()) {
          let first = 0;
          for (const [i, { name, rows, outFeatures }] of modules.entries()) {
            if (name === module) {
              const { bases, scales } = served.bundle.groups[g];
              const right = Float32Array.from(
                copy[g].subarray(first * inFeatures, (first + rows) * inFeatures),
                (value) => value * scales[first],
              );
              return { outFeatures, inFeatures, rank: rows, left: bases[i], right };
            }
            first += rows;
          }
        }
        return undefined;
      },
    }),
  };
}

const seeded = (n: number) =>
  target(`seeded, n = ${n}`, async () => ({
    adapter: "seeded",
    baseFingerprint: new Uint8Array(32),
    ...seededAdapter(n, 8, n),
  }));

const TARGETS: readonly (() => Promise<Target>)[] = [
  () =>
    target("lexicon", async () => {
      const { checkpoint, adapter } = await lexicon();
      return {
        adapter: "law",
        baseFingerprint: await fingerprintCheckpoint(checkpoint),
        groups: fitAdapter(adapter, checkpoint),
        modules: adapter.modules,
      };
    }),
  () => seeded(896),
  () => seeded(4096),
];

/** Error of a coefficient that was asked once, in units of W: as large as a mark. */
const ONCE = 60;

describe.each(TARGETS.map((make, i) => ({ make, name: ["lexicon", "n = 896", "n = 4096"][i] })))(
  "$name",
  ({ make }) => {
    let test: Target;
    beforeAll(async () => {
      test = await make();
    });
    const trace = (copy: Copy) => traceCopy(test.served, ACCOUNTS, test.suspect(copy));
    const named = async (copy: Copy) =>
      (await trace(copy)).accounts.filter(({ isNamed }) => isNamed).map(({ account }) => account);

    it("a copy that has half of the columns names its account, by 20 standard deviations, and nobody else", async () => {
      const report = await trace(test.copyOf("account-3", ONCE, 0.5));
      console.log(report.accounts.slice(0, 2), report.entries);
      expect(report.accounts[0]).toMatchObject({ account: "account-3", isNamed: true });
      expect(report.accounts[0].score).toBeGreaterThan(20);
      expect(report.accounts.filter(({ isNamed }) => isNamed)).toHaveLength(1);
    });

    it("of eight who collude at least one is named, and nobody else", async () => {
      const copies = EIGHT.map((account) => test.copyOf(account, 0.25 * ONCE));
      for (const [name, joined] of Object.entries(strategies(copies, test.weights))) {
        const report = await trace(joined);
        console.log(
          name,
          report.accounts
            .slice(0, 9)
            .map(({ account, score }) => `${account}:${score.toFixed(1)}`)
            .join(" "),
        );
        const guilty = report.accounts.filter(({ isNamed }) => isNamed).map(({ account }) => account);
        expect(guilty.length, name).toBeGreaterThan(0);
        expect(
          guilty.filter((account) => !EIGHT.includes(account)),
          name,
        ).toEqual([]);
        expect(report.accounts[0].score, name).toBeGreaterThan(7);
      }
    });

    it("the adapter itself, and copies by others, name nobody", async () => {
      expect(await named(test.weights.map((w) => Float64Array.from(w)))).toEqual([]);
      expect(await named(test.copyOf("somebody else", ONCE))).toEqual([]);
    });
  },
);

/** What several accounts may do with their copies. */
function strategies(copies: readonly Copy[], weights: readonly Int32Array[]): Record<string, Copy> {
  const random = seededSource(3);
  const coin = new Uint8Array(1);
  const flip = () => (random(coin), coin[0]);
  const each = (join: (values: readonly number[], w: number) => number): Copy =>
    copies[0].map((first, g) =>
      first.map((_, i) =>
        join(
          copies.map((copy) => copy[g][i]),
          weights[g][i],
        ),
      ),
    );
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const minority = (values: readonly number[], w: number) => {
    const plus = values.filter((value) => value > w);
    const minus = values.filter((value) => value <= w);
    const side = plus.length === 0 || (minus.length > 0 && minus.length < plus.length) ? minus : plus;
    return mean(side);
  };
  return {
    average: each(mean),
    "split entries": each((values) => values[flip() % values.length]),
    midrange: each((values) => (Math.max(...values) + Math.min(...values)) / 2),
    minority: each(minority),
    "half minority": each((values, w) => (flip() % 2 === 0 ? minority(values, w) : mean(values))),
    // As if they knew W where their signs differ.
    cancel: each((values, w) => {
      const plus = values.filter((value) => value > w).length;
      return plus === 0 || plus === values.length ? mean(values) : w;
    }),
  };
}
