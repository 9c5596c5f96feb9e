import { describe, expect, it } from "vitest";
import { seededSource } from "../seeded-adapter.ts";
import { toyRows } from "./toy-report.ts";

describe("lattice reduction at toy size", () => {
  // The large instance takes a quarter of a minute; `tacet audit` runs it.
  it("breaks hints without padding, and none with it", { timeout: 240_000 }, () => {
    const rows = [...toyRows(seededSource(11), process.env.SLOW !== undefined)];
    for (const { what, found, expected } of rows) expect([what, found]).toEqual([what, expected ? 1 : 0]);
  });
});
