import { describe, expect, it } from "vitest";
import { LineEstimate } from "./line-estimate.ts";

const QUERY_BYTES = 4550;

/** Sends queries at once over a line, and answers them in order. */
function burst(
  estimate: LineEstimate,
  start: number,
  queries: readonly number[],
  line: [number, number],
): number {
  const [roundTripMs, vectorMs] = line;
  let leaves = start;
  const answers = queries.map((vectors) => {
    estimate.sent(vectors, start);
    leaves += vectors * vectorMs;
    return leaves + roundTripMs;
  });
  for (const [i, at] of answers.entries()) estimate.answered(queries[i], at - start, 0, at);
  return answers.at(-1)!;
}

describe("the estimate of a line", () => {
  it("begins with Hello's answer and a home's rate, or with none nearby", () => {
    expect(new LineEstimate(40, QUERY_BYTES)).toMatchObject({ roundTripMs: 40, vectorMs: 1.82 });
    expect(new LineEstimate(0.5, QUERY_BYTES)).toMatchObject({ roundTripMs: 0.5, vectorMs: 0 });
  });

  it("learns the round trip from short queries and the rate from bursts", () => {
    const estimate = new LineEstimate(90, QUERY_BYTES);
    let now = burst(estimate, 1000, [1], [30, 0.2]);
    expect(estimate.roundTripMs).toBeCloseTo(30.2);
    now = burst(estimate, now + 5, [64, 64], [30, 0.2]);
    expect(estimate.vectorMs).toBeCloseTo(0.2, 2);
    // Several queries of a decode step are no burst.
    burst(estimate, now + 5, [1, 1], [30, 50]);
    expect(estimate.vectorMs).toBeCloseTo(0.2, 2);
  });

  it("takes what the provider computed for no part of the round trip", () => {
    const estimate = new LineEstimate(90, QUERY_BYTES);
    estimate.sent(1, 0);
    estimate.answered(1, 35, 5, 35);
    expect(estimate.roundTripMs).toBe(30);
  });

  it("is not misled by answers that were read late, and notices when the line has changed", () => {
    const estimate = new LineEstimate(90, QUERY_BYTES);
    let now = 0;
    for (let i = 0; i < 500; i++) now = burst(estimate, now, [1], [i % 10 === 0 ? 30 : 30 + i, 0]);
    expect(estimate.roundTripMs).toBe(30);
    for (let i = 0; i < 2049; i++) now = burst(estimate, now, [1], [80, 0]);
    expect(estimate.roundTripMs).toBe(80);
  });

  it("measures the rate anew when the round trip turns out to be shorter than Hello's answer took", () => {
    const estimate = new LineEstimate(500, QUERY_BYTES);
    const now = burst(estimate, 0, [64, 64], [30, 1.8]);
    expect(estimate.vectorMs).toBe(0);
    burst(estimate, now, [1], [30, 0]);
    expect(estimate).toMatchObject({ roundTripMs: 30 });
    expect(estimate.vectorMs).toBeCloseTo(1.8);
  });

  it("does not take a line for slow on which little is sent at a time, for however long", () => {
    const estimate = new LineEstimate(90, QUERY_BYTES);
    let now = burst(estimate, 0, [1], [30, 0.2]);
    now = burst(estimate, now + 5, [64, 64], [30, 0.2]);
    // Parts of a step: a query goes out before the one before is answered, again and again.
    for (let pass = 0; pass < 100; pass++) {
      estimate.sent(1, now);
      for (let query = 0; query < 200; query++) {
        estimate.sent(1, now + 15);
        estimate.answered(1, 30.2, 0, now + 30.2);
        now += 15;
      }
      now += 30.2;
      estimate.answered(1, 30.2, 0, now);
    }
    expect(estimate.vectorMs).toBeCloseTo(0.2, 2);
    // One that has become slow is noticed: there the vectors wait for each other.
    for (let i = 0; i < 40; i++) now = burst(estimate, now + 5, [64, 64], [30, 2]);
    expect(estimate.vectorMs).toBeCloseTo(2, 1);
  });

  it("learns nothing from a burst in which a query was lost", () => {
    const estimate = new LineEstimate(90, QUERY_BYTES);
    estimate.sent(64, 0);
    estimate.sent(64, 0);
    estimate.failed();
    estimate.answered(64, 100_000, 0, 100_000);
    expect(estimate.vectorMs).toBe(1.82);
    burst(estimate, 200_000, [64], [90, 0.1]);
    expect(estimate.vectorMs).toBeCloseTo(0.1, 2);
  });
});
