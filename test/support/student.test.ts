import { expect, it } from "vitest";
import { normalTail, poissonQuantile, studentQuantile, studentTail } from "./student.ts";

it("Student's t: the tables' quantiles", () => {
  // Two-sided 5 % and 0.1 % points of printed tables.
  expect(studentQuantile(0.025, 2)).toBeCloseTo(4.303, 3);
  expect(studentQuantile(0.025, 10)).toBeCloseTo(2.228, 3);
  expect(studentQuantile(0.0005, 30)).toBeCloseTo(3.646, 3);
  expect(studentTail(0, 16)).toBe(0.5);
  expect(studentTail(-1, 4) + studentTail(1, 4)).toBeCloseTo(1, 12);
  expect(studentTail(1e6, 32)).toBe(0);
});

it("Poisson: the least count that is exceeded less often", () => {
  // P(X > 0) = 1 - e^-m, P(X > 1) = 1 - (1 + m)·e^-m
  expect(poissonQuantile(1e-7, 1e-6)).toBe(0);
  expect(poissonQuantile(1e-3, 1e-6)).toBe(1);
  expect(poissonQuantile(1, 0.05)).toBe(3);
  expect(poissonQuantile(0, 1e-6)).toBe(0);
});

it("Gauss: the tables' tails, also where the series gives way to the continued fraction", () => {
  expect(normalTail(0)).toBe(0.5);
  expect(normalTail(1.959964)).toBeCloseTo(0.025, 7);
  expect(normalTail(3.090232) / 1e-3).toBeCloseTo(1, 5);
  expect(normalTail(4.753424) / 1e-6).toBeCloseTo(1, 5);
  expect(normalTail(3 - 1e-12) / normalTail(3 + 1e-12)).toBeCloseTo(1, 9);
});
