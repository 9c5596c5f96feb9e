/**
 * The tables of docs/parameters.md are computed here and must be in the page as computed.
 *
 * To print them again into the page: UPDATE_DOCS=1 npx vitest run src/pll/parameter-tables.test.ts
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectTable } from "../../test/support/computed-parts.ts";
import { MEASURED_PRECISION } from "../../test/support/measured-precision.ts";
import { packedBytes } from "../ring/kernels.ts";
import { insecureParameters } from "../rlwe/insecure-parameters.ts";
import { answeredEntropy, estimateAttacks, estimateLwe, functionQueries } from "../rlwe/lattice-estimate.ts";
import {
  differenceAfter,
  keyAfter,
  LOG_KEYS,
  readCoordinates,
  SECURITY_TABLE,
  securityOf,
} from "../rlwe/parameter-security.ts";
import { uniformStddev } from "../rlwe/parameter-set.ts";
import { DEFAULT_PARAMETERS as P, weightBlocks } from "../rlwe/parameters.ts";
import { predictedNoiseParts, predictedRelativeError, typicalResult } from "./noise.ts";
import { encryptedWeightBytes } from "./encrypted-weights.ts";

const PAGE = join(import.meta.dirname, "../../docs/parameters.md");
const WIDTHS = [256, 704, 896, 2048, 4096, 8192, 13_696];
const TERNARY = Math.sqrt(2 / 3);
const ROWS = 8;
/** Vectors of a key with the spare ones that are counted. */
const WORN = P.vectorsPerKey + 16;

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
  const { user, freshKey, wornKey, wornKeys, keyDifference, keyDifferences } = securityOf(P);
  const worn = P.keyLength - readCoordinates(P, WORN);
  const rows = (
    [
      ["client's query", P.ringDegree, user],
      ["key, unused", P.keyLength, freshKey],
      [`key after ${P.vectorsPerKey} + 16 chosen vectors`, worn, wornKey],
      [`the same, one of 2^${LOG_KEYS}`, worn, wornKeys],
      ["difference of two such keys", worn, keyDifference],
      [`the same, of 2^${LOG_KEYS}`, worn, keyDifferences],
    ] as const
  ).map(([name, dimension, e]) => [
    name,
    dimension,
    e.attack,
    e.beta,
    Math.floor(e.coreBits),
    Math.floor(e.standardBits),
    Math.floor(e.quantumBits),
  ]);
  return table(["instance", "dimension", "best attack", "beta", "core", "std", "quantum core"], rows);
}

function wear(): string {
  const rows = [0, 64, 128, 192, 240, 256, 272, 360, 480].map((vectors) => {
    const read = readCoordinates(P, vectors);
    const { coreBits, standardBits } = keyAfter(P, vectors);
    return [vectors, read, P.keyLength - read, Math.floor(coreBits), Math.floor(standardBits)];
  });
  return table(["chosen vectors", "coordinates read", "dimension left", "core", "std"], rows);
}

/** What more keys of one W take off. */
function many(): string {
  const columns = [0, 10, 20, 30, 40, 60];
  const bits = (estimate: (logKeys: number) => { readonly standardBits: number }) =>
    columns.map((logKeys) => estimate(logKeys).standardBits.toFixed(1));
  const rows = [
    ["worn key, any one", ...bits((logKeys) => keyAfter(P, WORN, logKeys))],
    [
      "difference, any pair",
      "",
      ...bits((logKeys) => differenceAfter(P, WORN, Math.max(1, logKeys))).slice(1),
    ],
    ["unused key, any one", ...bits((logKeys) => keyAfter(P, 0, logKeys))],
  ];
  return table(["keys of one W", ...columns.map((log) => (log === 0 ? "1" : `2^${log}`))], rows);
}

/** The rows of both published tables in the same model. */
function guidelines(): string {
  const model = (dimension: number, logQ: number) => {
    const samples = Number.POSITIVE_INFINITY;
    const lwe = { dimension, logQ, secretStddev: TERNARY, errorStddev: 3.19, samples };
    return estimateLwe(lwe).standardBits.toFixed(1);
  };
  const rows = SECURITY_TABLE.slice(0, 3).map((row) => {
    const [allowed, refused] = [row.guidelines2024, row.guidelines2024 + 1];
    return [row.ringDegree, allowed, model(row.ringDegree, allowed), refused, model(row.ringDegree, refused)];
  });
  return table(["N", "log q, 128 bits in 2024", "model, std", "log q, below 128", "model, std"], rows);
}

/** The same bits as exact values of combinations modulo 2^b0: the primal attack, which can use them. */
function hints(): string {
  const stddev = uniformStddev(P.secretBits);
  const lwe = {
    dimension: P.keyLength,
    logQ: P.logQ,
    secretStddev: stddev,
    errorStddev: stddev,
    samples: Number.POSITIVE_INFINITY,
  };
  const hinted = { ...lwe, modularHintBits: WORN * P.replyBits };
  const read = { ...lwe, dimension: P.keyLength - readCoordinates(P, WORN) };
  const rows = [
    ["0", estimateAttacks(lwe).primal],
    [`${WORN}, as modular hints`, estimateAttacks(hinted).primal],
    [`${WORN}, as coordinates`, estimateAttacks(read).primal],
  ] as const;
  return table(
    ["chosen vectors", "core, primal attack", "std"],
    rows.map(([name, e]) => [name, Math.floor(e.coreBits), Math.floor(e.standardBits)]),
  );
}

function lengths(): string {
  const rows = [1408, 1424, 1440, 1456, 1472, 1488].map((keyLength) => {
    const set = insecureParameters({ keyLength });
    const { freshKey, wornKeys } = securityOf(set);
    const one = [P.vectorsPerKey, WORN].map((vectors) => keyAfter(set, vectors));
    const bits = [freshKey, ...one, wornKeys].map((e) => e.standardBits.toFixed(1));
    return [keyLength, packedBytes(keyLength, P.uploadBits), ...bits];
  });
  const head = [
    "k",
    "bytes up a vector",
    "unused, std",
    `after ${P.vectorsPerKey} vectors`,
    `after ${WORN}`,
    `after ${WORN}, one of 2^${LOG_KEYS}`,
  ];
  return table(head, rows);
}

function widths(): string {
  const rows = [256, 896, 2048, 4096, 8192, 14_336].map((n) => {
    const { weights, hint } = encryptedWeightBytes(P, ROWS, n);
    return [
      n,
      weightBlocks(n),
      packedBytes(P.keyLength, P.uploadBits),
      packedBytes(ROWS, P.replyBits),
      weights + hint,
      Math.ceil((weights + hint) / P.vectorsPerKey),
    ];
  });
  const head = ["n", "public elements for weights", "up", "down", "a key", "a key's share"];
  return table(head, rows);
}

function precision(): string {
  const rows = WIDTHS.map((n) => {
    const parts = Object.values(predictedNoiseParts(P, P.rowNorm));
    const logs = parts.map((part) => Math.log2(part / typicalResult(P, n)).toFixed(1));
    const total = Math.log2(predictedRelativeError(P, n)).toFixed(1);
    return [n, ...logs, total, MEASURED_PRECISION.get(n)!.toFixed(1)];
  });
  const head = ["n", "rounding of x̂", "E·x̂", "S·e", "E_H·s", "reply", "predicted", "measured"];
  return table(head, rows);
}

function tails(): string {
  const n = 4096;
  const rows = [10, 50, 100, 300, 1000].map((factor) => {
    const share = predictedRelativeError(P, n) * Math.sqrt(1 + factor ** 2 / n);
    const units = 2 ** 31 / (1.05 * P.rowNorm * Math.sqrt(n + factor ** 2));
    return [factor, units.toFixed(1), `${(100 * share).toFixed(1)} %`];
  });
  const head = ["one coordinate, times the others", "units of x̂ left to each of them", "error of their part"];
  return table(head, rows);
}

function extraction(): string {
  const rows = WIDTHS.map((n) => {
    const error = predictedRelativeError(P, n);
    const entropy = answeredEntropy(error);
    const queries = functionQueries(n, entropy, P.replyBits);
    return [n, entropy.toFixed(1), Math.round(queries), (queries / P.vectorsPerKey).toFixed(1)];
  });
  return table(["n", "h_A, bits a weight", "Q_func, vectors", "keys"], rows);
}

describe("docs/parameters.md", () => {
  const tables = {
    check,
    guidelines,
    security,
    wear,
    many,
    hints,
    lengths,
    widths,
    precision,
    tails,
    extraction,
  };
  it.each(Object.entries(tables))("has the table %s as computed", (name, compute) => {
    expectTable(PAGE, name, compute());
  });

  it("names every field of the default set with its value", () => {
    const page = readFileSync(PAGE, "utf8");
    for (const [field, value] of Object.entries(P)) {
      if (field === "name") expect(page).toContain(`\`${value}\``);
      else
        expect(page).toMatch(
          new RegExp(`\\| \`${field}\` \\| ${field === "rowNorm" ? "2\\^19" : value} \\|`),
        );
    }
  });

  it.each(WIDTHS)("predicts the error that was measured at n = %d within 0.2 bit", (n) => {
    const predicted = Math.log2(predictedRelativeError(P, n));
    expect(Math.abs(predicted - MEASURED_PRECISION.get(n)!)).toBeLessThan(0.2);
  });
});
