/**
 * The tables of docs/parameters.md are computed here and must stand in the page as computed.
 *
 * To print them anew into the page: UPDATE_DOCS=1 npx vitest run src/rlwe/parameter-tables.test.ts
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { estimateLwe, functionQueries, remainingHintDimension, weightEntropy } from "./lattice-estimate.ts";
import { securityOf } from "./parameter-security.ts";
import {
  DEFAULT_PARAMETERS,
  errorStddev,
  HEADROOM,
  layoutOf,
  paddingEntropy,
  paddingStddev,
  replyBits,
  uploadBits,
  weightBits,
} from "./parameters.ts";
import { SECURITY_TABLE } from "./security-table.ts";

const PAGE = join(import.meta.dirname, "../../docs/parameters.md");
const WIDTHS = [256, 896, 2048, 4096, 13696];
const TERNARY = Math.sqrt(2 / 3);
const p = DEFAULT_PARAMETERS;

/** Scale and norm bound are rounded up to a grid of 2^(1/4): half a step on average. */
const MEAN_GRID_LOSS = 2 ** (1 / 8);

/** Standard deviation of weights: 114 at 10 bits, 511 over the largest of 8·n Gaussians (4.1 sigma) and the grid. */
function weightStddev(n: number): number {
  return 114 * 2 ** (weightBits(p, n) - 10);
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return lines.join("\n");
}

function check(): string {
  const points = [
    ...SECURITY_TABLE.slice(0, 3).map((row) => [row.ringDegree, row.standard2018, 128]),
    [2048, 37, 192],
    [2048, 29, 256],
    [1024, 19, 192],
  ];
  const rows = points.map(([dimension, logQ, published]) => {
    const samples = Number.POSITIVE_INFINITY;
    const lwe = { dimension, logQ, secretStddev: TERNARY, errorStddev: 3.19, samples };
    const { standardBits, coreBits } = estimateLwe(lwe);
    const difference = standardBits - published;
    const sign = difference < 0 ? "-" : "+";
    return [
      dimension,
      logQ,
      published,
      standardBits.toFixed(1),
      sign + Math.abs(difference).toFixed(1),
      coreBits.toFixed(1),
    ];
  });
  return table(["N", "log q", "published bits", "model, std", "difference", "model, core"], rows);
}

function security(): string {
  const narrow = estimateLwe({
    dimension: p.ringDegree,
    logQ: p.logQ,
    secretStddev: TERNARY,
    errorStddev: errorStddev(p),
    samples: layoutOf(p, 256).words,
  });
  const { user, hint } = securityOf(p);
  const rows = (
    [
      ["client's query, as many words as help", user],
      ["client's query, n = 256 (1280 words)", narrow],
      ["provider's hint, no query asked", hint],
    ] as const
  ).map(([name, e]) => [
    name,
    e.attack,
    e.beta,
    e.coreBits.toFixed(0),
    e.standardBits.toFixed(0),
    e.quantumBits.toFixed(0),
  ]);
  return table(["instance", "best attack", "beta", "core", "std", "quantum core"], rows);
}

function widths(): string {
  const rows = WIDTHS.map((n) => {
    const { words, blocks } = layoutOf(p, n);
    const bytes = Math.ceil((words * uploadBits(p)) / 8);
    return [n, blocks.length, words, weightBits(p, n), uploadBits(p), bytes, replyBits(p, n)];
  });
  return table(["n", "public elements", "words", "w", "bits a word", "bytes of v", "b0"], rows);
}

function extraction(): string {
  const rows = WIDTHS.map((n) => {
    const entropy = weightEntropy(weightStddev(n));
    const leak = {
      n,
      paddingLength: p.paddingLength,
      replyBits: replyBits(p, n),
      weightEntropy: entropy,
      paddingEntropy: paddingEntropy(p),
    };
    const known = Math.round(functionQueries(n, entropy, leak.replyBits));
    const cells = [0.5, 1].map((part) => {
      const dimension = remainingHintDimension({ ...leak, queries: Math.round(part * known) });
      const { coreBits } = estimateLwe({
        dimension,
        logQ: p.logQ,
        secretStddev: weightStddev(n),
        errorStddev: p.hintErrorStddev,
        samples: p.ringDegree,
      });
      return `${dimension}: ${coreBits > 1000 ? "> 1000" : coreBits.toFixed(0)}`;
    });
    return [n, known, ...cells];
  });
  return table(["n", "Q_func", "dimension: core bits left at Q_func / 2", "at Q_func"], rows);
}

/** Log2 of the relative error of u, by source and in total, from the noise formula of the page. */
function predict(n: number, sentBits: number) {
  const word = Math.sqrt(errorStddev(p) ** 2 + 4 ** (p.logQ - sentBits) / 12);
  const typical = 2 ** (p.logQ - 1) / (HEADROOM * 1.06 * MEAN_GRID_LOSS * Math.sqrt(n));
  const parts = [
    1 / Math.sqrt(12) / weightStddev(n),
    (weightStddev(n) * word * Math.sqrt(n)) / typical,
    (paddingStddev(p) * word * Math.sqrt(p.paddingLength)) / typical,
    (p.hintErrorStddev * Math.sqrt((2 * p.ringDegree) / 3)) / typical,
    2 ** (p.logQ - replyBits(p, n)) / Math.sqrt(12) / typical,
  ];
  return [...parts, Math.hypot(...parts)].map(Math.log2);
}

/** Printed by src/pll/precision.test.ts: mean over random layers of the real code. */
const MEASURED = new Map([
  [256, -10.4],
  [896, -9.9],
  [2048, -8.9],
  [4096, -8.5],
  [13696, -7.7],
]);

function precision(): string {
  const rows = WIDTHS.map((n) => {
    const parts = predict(n, uploadBits(p)).map((log) => log.toFixed(1));
    const whole = predict(n, 32).at(-1)!.toFixed(1);
    return [n, ...parts, whole, MEASURED.get(n)!];
  });
  return table(
    ["n", "weights to w bits", "W·e", "P·e", "E·s", "rounding", "total", "total, 32 bits sent", "measured"],
    rows,
  );
}

describe("docs/parameters.md", () => {
  const tables = { check, security, widths, extraction, precision };
  it.each(Object.entries(tables))("has the table %s as computed", (name, compute) => {
    const page = readFileSync(PAGE, "utf8");
    const [open, close] = [`<!-- table ${name} -->\n`, "\n<!-- end -->"];
    const start = page.indexOf(open) + open.length;
    expect(start).toBeGreaterThanOrEqual(open.length);
    const end = page.indexOf(close, start - 1);
    if (process.env.UPDATE_DOCS) writeFileSync(PAGE, page.slice(0, start) + compute() + page.slice(end));
    else expect(page.slice(start, end)).toBe(compute());
  });

  it.each(WIDTHS)(
    "predicts the error that was measured at n = %d, within its 0.3 bit of sampling noise",
    (n) => {
      expect(Math.abs(predict(n, 32).at(-1)! - MEASURED.get(n)!)).toBeLessThan(0.3);
    },
  );
});
