import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import { insecureParameters, insecureShortKey, insecureTinyRing } from "./insecure-parameters.ts";
import { maxLogQ, SECURITY_TABLE } from "./parameter-security.ts";
import { uniformStddev } from "./parameter-set.ts";
import {
  assertKernelParameters,
  createParameters,
  DEFAULT_PARAMETERS,
  errorStddev,
  HEADROOM,
  type ParametersLiteral,
  paddedLength,
  weightBlocks,
} from "./parameters.ts";

const literal: ParametersLiteral = { ...DEFAULT_PARAMETERS };
const numRuns = process.env.SLOW ? 5000 : 200;

describe("createParameters", () => {
  it("freezes a copy that survives JSON", () => {
    expect(Object.isFrozen(DEFAULT_PARAMETERS)).toBe(true);
    const again = createParameters(JSON.parse(JSON.stringify(DEFAULT_PARAMETERS)));
    expect(again).toEqual(DEFAULT_PARAMETERS);
    expect(again).not.toBe(DEFAULT_PARAMETERS);
    expect(createParameters({ ...literal, extra: 1 } as ParametersLiteral)).toEqual(DEFAULT_PARAMETERS);
  });

  const bad: [keyof ParametersLiteral, unknown][] = [
    ["name", ""],
    ["name", "Name with spaces"],
    ["name", 7],
    ["ringDegree", 2047],
    ["ringDegree", 3072],
    ["ringDegree", 8192],
    ["logQ", 31],
    ["logQ", 64],
    ["errorEta", 0],
    ["errorEta", 2.5],
    ["keyLength", 0],
    ["keyLength", 2049],
    ["keyLength", Number.NaN],
    ["secretBits", 0],
    ["secretBits", 12],
    ["secretBits", 10], // with this key length S would be longer than products take
    ["weightErrorBits", 0],
    ["weightErrorBits", 17],
    ["hintErrorBits", "10"],
    ["hintErrorBits", 17],
    ["rowNorm", 2 ** 19 - 1],
    ["rowNorm", 2 ** 31],
    ["weightBits", 15],
    ["weightBits", 33],
    ["hintBits", 15],
    ["hintBits", undefined],
    ["uploadBits", 33],
    ["replyBits", 0],
    ["replyBits", 33],
    ["vectorsPerKey", 0],
    ["vectorsPerKey", 256.5],
  ];
  it.each(bad)("refuses %s = %j and names it", (field, value) => {
    const attempt = () => createParameters({ ...literal, [field]: value });
    expect(attempt).toThrow(TacetError);
    expect(attempt).toThrow(new RegExp(`\\b${field}\\b`));
  });

  it("refuses a ring without a row in the tables, or with too small a limit", () => {
    const small = { ...literal, ringDegree: 1024, keyLength: 1024 };
    expect(() => createParameters(small)).toThrow(/logQ 32 is above .* 26/);
    expect(() => createParameters({ ...small, ringDegree: 512, keyLength: 512 })).toThrow(/ringDegree 512/);
  });
});

describe("insecure sets", () => {
  it("are named so and have the shape they claim", () => {
    for (const set of [insecureShortKey, insecureTinyRing]) {
      expect(set.name).toMatch(/^insecure/);
      expect(() => createParameters(set)).toThrow(TacetError);
    }
  });

  it("are imported by tests and by the audit's toys only", () => {
    const root = join(import.meta.dirname, "..");
    const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) =>
      /\.ts$/.test(path),
    );
    const importers = files.filter(
      (path) =>
        !/\.test\.ts$/.test(path) &&
        !path.replaceAll("\\", "/").startsWith("audit/toy/") &&
        /insecure-parameters\.ts"/.test(readFileSync(join(root, path), "utf8")),
    );
    expect(importers).toEqual([]);
  });
});

describe("standard deviations", () => {
  it("of integers that are uniform over 2^bits values are those of the list", () => {
    for (const bits of [1, 2, 7, 10]) {
      const values = Array.from({ length: 2 ** bits }, (_, i) => i);
      const mean = (2 ** bits - 1) / 2;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
      expect(uniformStddev(bits)).toBeCloseTo(Math.sqrt(variance), 9);
    }
  });

  it("of the user's error is the square root of 10.5", () => {
    expect(errorStddev(DEFAULT_PARAMETERS)).toBe(Math.sqrt(10.5));
  });
});

describe("what the kernels implement", () => {
  it("is the default set, and short keys of whole registers", () => {
    expect(assertKernelParameters(DEFAULT_PARAMETERS)).toBe(DEFAULT_PARAMETERS);
    expect(assertKernelParameters(insecureShortKey)).toBe(insecureShortKey);
  });

  it.each([{ keyLength: 1450 }, { errorEta: 20 }, { ringDegree: 1024, keyLength: 1024 }])(
    "is not %j",
    (changes) => expect(() => assertKernelParameters(insecureParameters(changes))).toThrow(RangeError),
  );
});

describe("widths of layers", () => {
  it.each([
    [1, 1, 16],
    [16, 1, 16],
    [17, 1, 32],
    [2048, 1, 2048],
    [2049, 2, 2064],
    [4096, 2, 4096],
    [13_696, 7, 13_696],
    [1 << 19, 256, 1 << 19],
  ])("n = %d takes %d public elements and rows of %d", (n, blocks, padded) => {
    expect(weightBlocks(n)).toBe(blocks);
    expect(paddedLength(n)).toBe(padded);
  });

  it.each([0, -1, 1.5, Number.NaN, (1 << 19) + 1])("refuses n = %d", (n) => {
    expect(() => weightBlocks(n)).toThrow(RangeError);
  });

  it("the widest still has x̂ that products take: ‖x̂‖₂² is at most 2^27 for any x (property)", () => {
    const { rowNorm } = DEFAULT_PARAMETERS;
    const n = 1 << 19;
    const norm = 2 ** 31 / (HEADROOM * rowNorm);
    // Entries of k − 1/2 round up to k and gain most; the budget ‖c·x‖₂ = norm is spent on m of them.
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4000 }), (k) => {
        const m = Math.min(n, Math.floor((norm / (k - 0.5)) ** 2));
        expect(k * k * m).toBeLessThanOrEqual(2 ** 27);
      }),
      { numRuns },
    );
    expect((norm + Math.sqrt(n) / 2) ** 2).toBeLessThan(2 ** 27);
    expect(norm).toBeLessThan(2 ** 15 - 1);
  });
});

describe("security table", () => {
  it("lies around half a bit of modulus per 38 coefficients, the later table below the earlier", () => {
    for (const { ringDegree, standard2018, guidelines2024 } of SECURITY_TABLE) {
      expect(guidelines2024).toBeLessThan(standard2018);
      expect(standard2018 / ringDegree).toBeGreaterThan(0.026);
      expect(standard2018 / ringDegree).toBeLessThan(0.027);
      expect(maxLogQ(ringDegree)).toBe(guidelines2024);
    }
    expect(maxLogQ(512)).toBeUndefined();
  });
});
