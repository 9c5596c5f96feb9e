import { Histogram, Registry } from "prom-client";
import { expect, it } from "vitest";
import { AnswerTimes } from "./answer-times.ts";

it("says what prom-client's histogram says of the same times", async () => {
  const bounds = [0.001, 0.01, 0.5];
  const [ours, theirs] = [new Registry(), new Registry()];
  const shared = { name: "seconds", help: "Times." };
  const times = new AnswerTimes({ ...shared, bounds, register: ours });
  const histogram = new Histogram({
    ...shared,
    buckets: [...bounds],
    labelNames: ["adapter"],
    registers: [theirs],
  });
  expect(await ours.metrics()).toBe(await theirs.metrics());
  for (const adapter of ["law", 'of "two" words']) {
    for (const seconds of [0, 0.0009, 0.001, 0.0011, 0.01, 0.3, 0.5, 0.51, 12]) {
      times.of(adapter).observe(seconds);
      histogram.observe({ adapter }, seconds);
    }
  }
  expect(await ours.metrics()).toBe(await theirs.metrics());
  expect(await ours.metrics()).toContain('seconds_bucket{le="0.01",adapter="law"} 5');
});
