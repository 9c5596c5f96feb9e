/** Parts of a document that a test computes. */
import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";

/** Expects the text between `open` and `close`; under UPDATE_DOCS=1 writes it there. */
export function expectPart(page: string | URL, open: string, close: string, text: string): void {
  const found = readFileSync(page, "utf8");
  const start = found.indexOf(open) + open.length;
  expect(start).toBeGreaterThanOrEqual(open.length);
  const end = found.indexOf(close, start - 1);
  if (process.env.UPDATE_DOCS) writeFileSync(page, found.slice(0, start) + text + found.slice(end));
  else expect(found.slice(start, end)).toBe(text);
}

export function expectTable(page: string | URL, name: string, table: string): void {
  expectPart(page, `<!-- table ${name} -->\n`, "\n<!-- end -->", table);
}
