import { describe, expect, it } from "vitest";
import { seededSource } from "../seeded-adapter.ts";
import { TOY_ROWS, toyRows } from "./toy-report.ts";

describe("lattice reduction at toy size", () => {
  it("breaks keys that are used too long, and none that is retired in time", {
    timeout: 240_000,
  }, async () => {
    const rows: unknown[] = [];
    for await (const { what, margin, found, expected } of toyRows(seededSource(11))) {
      rows.push(what);
      expect([what, margin > 0]).toEqual([what, expected]);
      expect([what, found > 0.99, found < 0.1]).toEqual([what, expected, !expected]);
    }
    expect(rows).toHaveLength(TOY_ROWS);
  });
});
