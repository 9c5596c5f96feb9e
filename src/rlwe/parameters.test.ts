import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import { insecureSmallPadding, insecureTernaryPadding, insecureTinyRing } from "./insecure-parameters.ts";
import { functionQueries, weightEntropy } from "./lattice-estimate.ts";
import { securityOf } from "./parameter-security.ts";
import {
  createParameters,
  DEFAULT_PARAMETERS,
  dataBlocks,
  layoutOf,
  type ParametersLiteral,
  paddingEntropy,
  paddingStddev,
  replyBits,
  weightBits,
} from "./parameters.ts";
import { maxLogQ, SECURITY_TABLE } from "./security-table.ts";

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
    ["paddingLength", 0],
    ["paddingLength", 2049],
    ["paddingLow", -32769],
    ["paddingHigh", -255],
    ["paddingHigh", 32768],
    ["hintErrorStddev", 0],
    ["hintErrorStddev", Number.NaN],
    ["hintErrorStddev", "256"],
    ["weightBits", 1],
    ["weightBits", 17],
    ["hintBits", 15],
    ["hintBits", 33],
    ["hintBits", undefined],
  ];
  it.each(bad)("refuses %s = %j and names it", (field, value) => {
    const attempt = () => createParameters({ ...literal, [field]: value });
    expect(attempt).toThrow(TacetError);
    expect(attempt).toThrow(new RegExp(`\\b${field}\\b`));
  });

  it("refuses what is below 128 bits, naming the instance", () => {
    // The review's table: 896 ternary columns with sigma_E = 2^7 have 116 bits, N = 1024 has 110.
    const ternary = { ...literal, paddingLow: -1, paddingHigh: 1 };
    expect(() => createParameters({ ...ternary, paddingLength: 896, hintErrorStddev: 128 })).toThrow(
      /hint has 11[567]/,
    );
    expect(() => createParameters({ ...literal, ringDegree: 1024 })).toThrow(/logQ 32 is above .* 26/);
    expect(() => createParameters({ ...literal, ringDegree: 512, paddingLength: 512 })).toThrow(
      /ringDegree 512/,
    );
    expect(createParameters({ ...ternary, hintErrorStddev: 128 }).paddingHigh).toBe(1); // 133 bits
  });

  it("knows the security of the default set, once", () => {
    const security = securityOf(DEFAULT_PARAMETERS);
    expect(security.user.coreBits).toBeCloseTo(200.2, 0);
    expect(security.hint.coreBits).toBeCloseTo(155.1, 0);
    expect(securityOf(DEFAULT_PARAMETERS)).toBe(security);
  });
});

describe("insecure sets", () => {
  it("are named so and have the shape they claim", () => {
    for (const set of [insecureSmallPadding, insecureTinyRing, insecureTernaryPadding]) {
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

describe("widths", () => {
  it("weight and reply bits at the widths of the design", () => {
    const widths = [256, 896, 2048, 4096, 13696];
    expect(widths.map((n) => replyBits(DEFAULT_PARAMETERS, n))).toEqual([15, 16, 15, 15, 15]);
    expect(widths.map((n) => weightBits(DEFAULT_PARAMETERS, n))).toEqual([12, 12, 11, 11, 10]);
  });

  it("a thief needs as many queries as under the review's w = 10 and b0, within 3 %", () => {
    const reviewBits = new Map([
      [256, 12],
      [896, 13],
      [2048, 14],
      [4096, 14],
      [13696, 15],
    ]);
    for (const [n, b0] of reviewBits) {
      const stddev = (bits: number) => 114 * 2 ** (bits - 10);
      const review = functionQueries(n, weightEntropy(stddev(10)), b0);
      const ours = functionQueries(
        n,
        weightEntropy(stddev(weightBits(DEFAULT_PARAMETERS, n))),
        replyBits(DEFAULT_PARAMETERS, n),
      );
      expect(ours).toBeGreaterThan(0.97 * review);
    }
  });

  it("reply bits stay between 12 and 20", () => {
    for (let n = 1; n < 1 << 17; n = Math.ceil(n * 1.1)) {
      expect(replyBits(DEFAULT_PARAMETERS, n)).toBeGreaterThanOrEqual(12);
      expect(replyBits(DEFAULT_PARAMETERS, n)).toBeLessThanOrEqual(20);
    }
  });

  it("padding statistics", () => {
    expect(paddingStddev(DEFAULT_PARAMETERS)).toBeCloseTo(147.8, 1);
    expect(paddingEntropy(DEFAULT_PARAMETERS)).toBe(9);
  });
});

describe("layoutOf", () => {
  it("puts the padding behind the data where it fits", () => {
    expect(layoutOf(DEFAULT_PARAMETERS, 896)).toEqual({
      inFeatures: 896,
      paddingOffset: 896,
      words: 1920,
      blocks: [{ kind: "data", index: 0, offset: 0, length: 1920 }],
    });
    expect(layoutOf(DEFAULT_PARAMETERS, 1024).blocks).toEqual([
      { kind: "data", index: 0, offset: 0, length: 2048 },
    ]);
  });

  it("gives it a block of its own where it does not", () => {
    expect(layoutOf(DEFAULT_PARAMETERS, 1025).blocks).toEqual([
      { kind: "data", index: 0, offset: 0, length: 1025 },
      { kind: "padding", index: 1, offset: 1025, length: 1024 },
    ]);
    expect(layoutOf(DEFAULT_PARAMETERS, 4096).blocks).toEqual([
      { kind: "data", index: 0, offset: 0, length: 2048 },
      { kind: "data", index: 1, offset: 2048, length: 2048 },
      { kind: "padding", index: 2, offset: 4096, length: 1024 },
    ]);
  });

  it("covers every word once, in order, with at most N words a block", () => {
    const sets = fc.constantFrom(DEFAULT_PARAMETERS, insecureSmallPadding, insecureTinyRing);
    const property = fc.property(sets, fc.integer({ min: 1, max: 20_000 }), (p, n) => {
      const layout = layoutOf(p, n);
      let next = 0;
      for (const [index, block] of layout.blocks.entries()) {
        expect(block.index).toBe(index);
        expect(block.offset).toBe(next);
        expect(block.length).toBeGreaterThan(0);
        expect(block.length).toBeLessThanOrEqual(p.ringDegree);
        next += block.length;
      }
      expect(next).toBe(layout.words);
      expect(layout.words).toBe(n + p.paddingLength);
      expect(layout.blocks.filter((block) => block.kind === "data")).toHaveLength(dataBlocks(p, n));
    });
    fc.assert(property, { numRuns });
  });

  it.each([0, -1, 1.5, Number.NaN, (1 << 20) + 1])("refuses n = %d", (n) => {
    expect(() => layoutOf(DEFAULT_PARAMETERS, n)).toThrow(RangeError);
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
