import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MeasuredCost, planParts, readingMs } from "./plan-parts.ts";

/** Qwen2.5-0.5B's shape on two cores: q and v adapted, one exchange a layer. */
const COST = { tokenMs: 16, passMs: 30 };
const EXCHANGES = { count: 24, vectors: 1 };
/** 4.55 kB a vector, over lines of so many megabits a second upwards. */
const line = (roundTripMs: number, upMbits: number) => ({
  roundTripMs,
  vectorMs: (4550 * 8) / 1000 / upMbits,
});

describe("the number of parts", () => {
  it("is one where nothing is waited for", () => {
    expect(planParts(512, undefined, COST, EXCHANGES)).toBe(1);
    expect(planParts(512, line(30, 1e9), COST, { count: 0, vectors: 0 })).toBe(1);
    expect(planParts(512, line(30, 20), COST, { count: 0, vectors: 0 })).toBe(1);
  });

  it("is one on loopback, whatever seems to limit it there", () => {
    for (const vectorMs of [0, 0.02, 0.5])
      expect(planParts(512, { roundTripMs: 0.3, vectorMs }, COST, EXCHANGES)).toBe(1);
  });

  it("is one for a few tokens while nobody knows what a pass costs", () => {
    const unknown = { tokenMs: 0, passMs: 0, isUnknown: true };
    for (const tokens of [1, 2, 8, 15]) expect(planParts(tokens, line(120, 50), unknown, EXCHANGES)).toBe(1);
  });

  it("is more than one for a token and its drafts where their vectors take as long as a good part of the round trip", () => {
    // All seven modules: two exchanges a layer, of two vectors each.
    const all = { count: 49, vectors: 96 / 49 };
    const step = { tokenMs: 2, passMs: 20 };
    expect(planParts(1, line(30, 20), step, all)).toBe(1);
    expect(planParts(6, line(30, 20), step, all)).toBeGreaterThan(3);
    expect(readingMs(6, 6, line(30, 20), step, all)).toBeLessThan(
      0.75 * readingMs(6, 1, line(30, 20), step, all),
    );
    // A wide line and a fast model: next to nothing would be gained.
    expect(planParts(6, line(30, 1000), { tokenMs: 0.5, passMs: 5 }, all)).toBe(1);
  });

  it("is two where the line is the bottleneck, and more where the round trip is", () => {
    expect(planParts(128, line(30, 20), COST, EXCHANGES)).toBe(2);
    expect(planParts(128, line(120, 50), COST, EXCHANGES)).toBeGreaterThan(2);
  });

  it("is never slower than one part, as far as the formula knows", () => {
    const inputs = fc.record({
      tokens: fc.integer({ min: 1, max: 512 }),
      roundTripMs: fc.double({ min: 0, max: 300, noNaN: true }),
      vectorMs: fc.double({ min: 0, max: 20, noNaN: true }),
      tokenMs: fc.double({ min: 0, max: 100, noNaN: true }),
      passMs: fc.double({ min: 0, max: 300, noNaN: true }),
      count: fc.integer({ min: 1, max: 300 }),
      isUnknown: fc.boolean(),
    });
    fc.assert(
      fc.property(inputs, ({ tokens, count, tokenMs, passMs, isUnknown, ...line }) => {
        const [cost, exchanges] = [
          { tokenMs, passMs, isUnknown },
          { count, vectors: 1 },
        ];
        const parts = planParts(tokens, line, cost, exchanges);
        expect(parts).toBeGreaterThanOrEqual(1);
        expect(tokens / parts).toBeGreaterThanOrEqual(parts > 1 && isUnknown ? 8 : 1);
        expect(readingMs(tokens, parts, line, cost, exchanges)).toBeLessThanOrEqual(
          readingMs(tokens, 1, line, cost, exchanges),
        );
      }),
    );
  });

  it("makes the line the only limit of a home's prompts, as measured by the network bench", () => {
    const home = line(30, 20);
    const sending = 24 * 128 * home.vectorMs;
    expect(readingMs(128, 2, home, COST, EXCHANGES) / sending).toBeLessThan(1.05);
    expect(readingMs(128, 1, home, COST, EXCHANGES) / sending).toBeGreaterThan(1.4);
  });
});

describe("the cost of reading", () => {
  it("is taken from passes of one token and of many", () => {
    const cost = new MeasuredCost();
    expect(cost).toMatchObject({ tokenMs: 0, passMs: 0, isUnknown: true });
    for (let i = 0; i < 10; i++) {
      cost.add(1, 30 + 2);
      cost.add(100, 30 + 100 * 2);
    }
    expect(cost.tokenMs).toBeCloseTo(2, 1);
    expect(cost.passMs).toBeCloseTo(30, 1);
    expect(cost.isUnknown).toBe(false);
  });

  it("is known after a step even if the first prompt was slow", () => {
    const cost = new MeasuredCost();
    cost.add(10, 200);
    cost.add(6, 24);
    expect(cost.isUnknown).toBe(false);
    for (let i = 0; i < 10; i++) {
      cost.add(100, 120);
      cost.add(6, 24);
    }
    expect(cost.passMs + 6 * cost.tokenMs).toBeCloseTo(24, -1);
  });

  it("is taken from passes of a few tokens where there are no others", () => {
    const cost = new MeasuredCost();
    for (let i = 0; i < 20; i++) cost.add(3, 30 + 3 * 6);
    expect(cost.isUnknown).toBe(false);
    expect(cost.passMs + 3 * cost.tokenMs).toBeCloseTo(48, 0);
  });
});
