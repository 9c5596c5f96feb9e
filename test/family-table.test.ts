/** docs/models.md has the table of families that the code gives. UPDATE=1 writes it. */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { MULTIMODAL } from "../src/model/architectures/multimodal.ts";
import { familyTable } from "./support/family-table.ts";

const DOCUMENT = "docs/models.md";
const [BEGIN, END] = [
  "<!-- families: test/family-table.test.ts writes this -->\n",
  "\n<!-- families end -->",
];

it("docs/models.md has every family as it is", () => {
  const text = readFileSync(DOCUMENT, "utf8");
  const [from, to] = [text.indexOf(BEGIN) + BEGIN.length, text.indexOf(END)];
  expect(from, "the marks are there").toBeGreaterThan(BEGIN.length);
  const table = familyTable();
  if (process.env.UPDATE) writeFileSync(DOCUMENT, text.slice(0, from) + table + text.slice(to));
  else expect(text.slice(from, to), "stale: UPDATE=1 npx vitest run test/family-table.test.ts").toBe(table);
});

it("docs/models.md names every model that also sees or hears", () => {
  const text = readFileSync(DOCUMENT, "utf8");
  expect(Object.keys(MULTIMODAL).filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});
