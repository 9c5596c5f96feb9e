import { describe, expect, it } from "vitest";
import { Acceptance, bestCount, PassCost } from "./draft-estimates.ts";

/** A line of the round trip, with so many exchanges a pass, and what a row and a draft take. */
const costs = (exchanges: number, roundTripMs: number, { row = 45, draft = 40, own = 60 } = {}) => ({
  passMs: (rows: number) => own + exchanges * roundTripMs + (rows - 1) * row,
  draftMs: draft,
});

describe("bestCount", () => {
  it("drafts more the farther the provider is, and the more often drafts are right", () => {
    const byLine = [1, 5, 30, 120].map((ms) => bestCount(31, 0.75, costs(24, ms)));
    expect(byLine).toEqual(byLine.toSorted((a, b) => a - b));
    expect(byLine[0]).toBe(0);
    expect(byLine[3]).toBeGreaterThan(byLine[1]);
    const byRate = [0, 0.3, 0.6, 0.9].map((p) => bestCount(31, p, costs(24, 30)));
    expect(byRate).toEqual(byRate.toSorted((a, b) => a - b));
    expect(byRate[0]).toBe(0);
    expect(byRate[3]).toBeGreaterThan(byRate[1]);
  });

  it("gives no more than the most, and nothing for a gain that is too small", () => {
    expect(bestCount(3, 0.99, costs(24, 120))).toBe(3);
    expect(bestCount(0, 0.99, costs(24, 120))).toBe(0);
    expect(bestCount(31, 0.08, { passMs: () => 100, draftMs: 0 })).toBe(0);
  });

  it("is what trying all counts finds", () => {
    const { passMs, draftMs } = costs(24, 30);
    const rate = (k: number) =>
      Array.from({ length: k + 1 }, (_, i) => 0.7 ** i).reduce((a, b) => a + b) /
      (passMs(k + 1) + k * draftMs);
    const all = Array.from({ length: 32 }, (_, k) => rate(k));
    expect(bestCount(31, 0.7, { passMs, draftMs })).toBe(all.indexOf(Math.max(...all)));
  });
});

describe("PassCost", () => {
  const known = (expected: (rows: number) => number) => {
    const cost = new PassCost();
    // Keys, and what look-ahead asks once: of no account.
    for (let i = 0; i < 4; i++) {
      expect(cost.isKnown).toBe(false);
      cost.add(1, 90_000, expected(1));
    }
    expect(cost.isKnown).toBe(true);
    return cost;
  };

  it("is what is expected before it is measured, and has the shape of that while all passes are alike", () => {
    const expected = (rows: number) => 700 + 50 * Math.max(0, rows - 3);
    const cost = known(expected);
    for (const rows of [1, 3, 8]) expect(cost.at(rows, expected(rows))).toBe(expected(rows));
    for (let i = 0; i < 5; i++) cost.add(1, 800, expected(1));
    for (const rows of [1, 3, 8]) expect(cost.at(rows, expected(rows))).toBeCloseTo(expected(rows) + 100);
  });

  it("finds what a pass and a row take beside what is expected", () => {
    const cost = known((rows) => 700 + 50 * rows);
    for (let i = 0; i < 60; i++) {
      const rows = 1 + (i % 6);
      cost.add(rows, 700 + 90 * rows, 700 + 50 * rows);
    }
    expect(cost.at(1, 750)).toBeCloseTo(790, -1.3);
    expect(cost.at(6, 1000)).toBeCloseTo(1240, -1.6);
  });

  it("is hardly moved by one pass that waited for something else, and follows a line that has changed", () => {
    const cost = known(() => 0);
    for (let i = 0; i < 20; i++) cost.add(1, 100, 0);
    cost.add(1, 60_000, 0);
    expect(cost.at(1, 0)).toBeLessThan(130);
    for (let i = 0; i < 60; i++) cost.add(1, 400, 0);
    expect(cost.at(1, 0)).toBeGreaterThan(350);
  });
});

describe("Acceptance", () => {
  it("goes from a guess to what is seen, and back when nothing is", () => {
    const acceptance = new Acceptance(0.6);
    expect(acceptance.rate).toBe(0.6);
    // Four of five before a wrong one: 0.8.
    for (let i = 0; i < 50; i++) acceptance.add(4, 9);
    expect(acceptance.rate).toBeGreaterThan(0.77);
    expect(acceptance.rate).toBeLessThan(0.81);
    for (let i = 0; i < 100; i++) acceptance.add(0, 4);
    expect(acceptance.rate).toBeLessThan(0.25);
    for (let i = 0; i < 100; i++) acceptance.forget();
    expect(acceptance.rate).toBeGreaterThan(0.55);
  });
});
