/** Timers for the wall clock, on a clock that a test holds. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { atTime } from "./at-time.ts";

const DAY = 86_400_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it("calls back once, at the time and not before, also beyond what a timer holds", () => {
  const reached = vi.fn();
  atTime(Date.now() + 100 * DAY, Date.now, reached);
  vi.advanceTimersByTime(100 * DAY - 1);
  expect(reached).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  vi.advanceTimersByTime(DAY);
  expect(reached).toHaveBeenCalledTimes(1);
});

it("notices a clock that was set, or a machine that slept", () => {
  const reached = vi.fn();
  const clock = { now: 0 };
  atTime(10 * DAY, () => clock.now, reached);
  vi.advanceTimersByTime(1000);
  clock.now = 11 * DAY;
  vi.advanceTimersByTime(60_000);
  expect(reached).toHaveBeenCalledTimes(1);
});

it("waits on where the clock was set back", () => {
  const reached = vi.fn();
  const clock = { now: 5000 };
  atTime(6000, () => clock.now, reached);
  clock.now = 0;
  vi.advanceTimersByTime(1000);
  expect(reached).not.toHaveBeenCalled();
  clock.now = 6000;
  vi.advanceTimersByTime(6000);
  expect(reached).toHaveBeenCalledTimes(1);
});

it("can be cancelled, and does not call back at once for a time that is over", () => {
  const reached = vi.fn();
  atTime(Date.now() - 1, Date.now, reached)();
  vi.advanceTimersByTime(DAY);
  expect(reached).not.toHaveBeenCalled();
});
