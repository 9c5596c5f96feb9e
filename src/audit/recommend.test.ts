import { describe, expect, it } from "vitest";
import type { EffectRow } from "./answer-effects.ts";
import { plotCurves } from "./plot-svg.ts";
import { recommend } from "./recommend.ts";
import type { AuditReport, GroupReport } from "./report.ts";

const point = (queries: number, deltaError: number) => ({
  queries,
  deltaError,
  weightError: deltaError,
  known: 0,
});
const curve = (attack: string, ...points: [number, number][]) => ({
  attack,
  variant: "a & b",
  points: points.map(([queries, error]) => point(queries, error)),
  facts: {},
  finding: "",
});
const group: GroupReport = {
  group: 3,
  modules: ["m"],
  inFeatures: 256,
  rows: 8,
  weightEntropy: 10.9,
  functionQueries: 186,
  attacks: [
    curve("unit", [100, 0.8], [200, 0.4]),
    curve("principal", [50, 0.6], [100, 0.4], [150, 0.1]),
    curve("init", [8, 0.01]),
  ],
};
const effect = (weightErrorBits: number, replyBits: number, agreement: number): EffectRow => ({
  what: "",
  precision: { weightErrorBits, replyBits },
  tokens: 100,
  agreement,
  perplexity: 1,
});

describe("recommend", () => {
  it("takes the best attack that needs no premise, and the lowest b0 that keeps answers", () => {
    const effects = [effect(0, 0, 1), effect(0, -2, 0.999), effect(0, -4, 0.99), effect(3, -6, 1)];
    const { replyBits, queriesGained, budgets } = recommend([group], effects, 14);
    expect(replyBits).toBe(-2);
    expect(queriesGained).toBeCloseTo(2 / 12);
    expect(budgets).toMatchObject([{ group: 3, halfError: 75, fifthError: 133, vectors: 75 }]);
    expect(budgets[0].attack).toMatch(/^principal/);
  });
});

describe("plotCurves", () => {
  it("draws each curve with its label, escaped", () => {
    const report = { adapter: "<law>", groups: [group] } as unknown as AuditReport;
    const svg = plotCurves(report);
    expect(svg.match(/<polyline/g)).toHaveLength(4); // two curves of several points, two legends
    expect(svg).toContain("&#60;law&#62;");
    expect(svg).not.toMatch(/NaN|Infinity|a & b/);
  });
});
