import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { WordWrap } from "./word-wrap.ts";

function wrapped(pieces: readonly string[], columns: number): string {
  let shown = "";
  const wrap = new WordWrap(
    (text) => (shown += text),
    () => columns,
  );
  for (const piece of pieces) wrap.add(piece);
  wrap.flush();
  return shown;
}

describe("WordWrap", () => {
  it.each([
    [["the unlawful beating of another"], 12, "the unlawful\nbeating of\nanother"],
    [["the unlaw", "ful beat", "ing of another"], 12, "the unlawful\nbeating of\nanother"],
    [["one\n\ntwo three"], 5, "one\n\ntwo\nthree"],
    [["  indented  text"], 80, "  indented  text"],
    [["trailing "], 80, "trailing"],
    [["abcdefghij klm"], 4, "abcdefghij\nklm"],
    [["漢字漢字"], 4, "漢字\n漢字"],
    [["e\u0301e\u0301 e\u0301e\u0301"], 5, "e\u0301e\u0301 e\u0301e\u0301"],
  ])("%j in %i columns", (pieces, columns, shown) => {
    expect(wrapped(pieces, columns)).toBe(shown);
  });

  it("changes nothing but blanks, however the text is cut, and overfills no line that could be broken", () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,9}$/), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(
        words,
        fc.integer({ min: 9, max: 40 }),
        fc.integer({ min: 1, max: 7 }),
        (all, columns, size) => {
          const text = all.join(" ");
          const pieces = text.match(new RegExp(`.{1,${size}}`, "gu")) ?? [];
          const shown = wrapped(pieces, columns);
          expect(shown.split(/\s/)).toEqual(all);
          expect(Math.max(...shown.split("\n").map((line) => line.length))).toBeLessThanOrEqual(columns);
          expect(shown).toBe(wrapped([text], columns));
        },
      ),
    );
  });
});
