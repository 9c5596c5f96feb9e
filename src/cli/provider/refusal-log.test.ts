/** However much is refused, the log has a few lines of it and a count. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ProviderEvent } from "../../provider/provider.ts";
import { RefusalLog } from "./refusal-log.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function start() {
  const lines: object[] = [];
  const log = new RefusalLog((line) => lines.push(line));
  const refuse = (change: Record<string, unknown> = {}) =>
    log.record({ type: "failed", connection: 1, query: 2, code: "bad_query", ...change } as Extract<
      ProviderEvent,
      { type: "failed" }
    >);
  return { lines, log, refuse };
}

it("has the first refusals of a kind in full, and the number of the others", () => {
  const { lines, refuse } = start();
  for (let i = 0; i < 60_000; i++) refuse({ query: i });
  refuse({ code: "too_large" });
  expect(lines).toHaveLength(4);
  expect(lines[0]).toMatchObject({ type: "failed", query: 0, code: "bad_query" });
  vi.advanceTimersByTime(10_000);
  expect(lines.slice(4)).toEqual([{ type: "refusals", of: "failed", code: "bad_query", more: 59_997 }]);
  refuse();
  expect(lines.at(-1)).toMatchObject({ type: "failed" });
});

it("tells keys apart, as many as it can remember", () => {
  const { lines, log, refuse } = start();
  for (let i = 0; i < 2000; i++) for (let j = 0; j < 5; j++) refuse({ keyId: `k${i}` });
  expect(lines.length).toBeLessThan(1000);
  log.flush();
  expect(lines).toContainEqual({ type: "refusals", of: "failed", code: "bad_query", more: 2, keyId: "k7" });
  const counted = lines as { type: string; more?: number; keyId?: string }[];
  const others = counted.find(({ type, keyId }) => type === "refusals" && keyId === undefined);
  expect(others?.more).toBeGreaterThan(8000);
  expect(lines.length).toBeLessThan(1500);
});

it("writes nothing where nothing was left out, and what was counted when it is told to", () => {
  const { lines, log, refuse } = start();
  refuse();
  vi.advanceTimersByTime(20_000);
  expect(lines).toHaveLength(1);
  for (let i = 0; i < 4; i++) refuse();
  log.flush();
  expect(lines.at(-1)).toMatchObject({ more: 1 });
});
