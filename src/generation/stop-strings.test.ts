import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopStrings } from "./stop-strings.ts";

const RUNS = process.env.SLOW ? 20_000 : 1000;

/** The definition: the shortest prefix of the text that ends with a stop string, without the longest such string. */
function reference(text: string, stops: readonly string[]): { text: string; found: string | undefined } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops
      .filter((stop) => text.slice(0, end).endsWith(stop))
      .sort((a, b) => b.length - a.length)[0];
    if (found !== undefined) return { text: text.slice(0, end - found.length), found };
  }
  return { text, found: undefined };
}

/** Length of the longest end of the text that begins a stop string without being one. */
function uncertain(text: string, stops: readonly string[]): number {
  const lengths = stops.flatMap((stop) =>
    Array.from({ length: stop.length - 1 }, (_, i) => i + 1).filter((length) =>
      text.endsWith(stop.slice(0, length)),
    ),
  );
  return Math.max(0, ...lengths);
}

/** Short strings over few letters, so that stop strings overlap and repeat. */
const word = (minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom("a", "b", "é", "😀"), minLength, maxLength });

describe("StopStrings", () => {
  it("equals the definition on the full text, however it is cut, and holds back no more than it must", () => {
    const pieces = fc.array(word(0, 5), { maxLength: 8 });
    fc.assert(
      fc.property(pieces, fc.array(word(1, 5), { maxLength: 4 }), (cut, stops) => {
        const want = reference(cut.join(""), stops);
        const filter = new StopStrings(stops);
        let [read, out] = ["", ""];
        for (const piece of cut) {
          read += piece;
          out += filter.push(piece);
          const soFar = reference(read, stops);
          const held = soFar.found === undefined ? uncertain(read, stops) : 0;
          expect(out).toBe(soFar.text.slice(0, soFar.text.length - held));
        }
        expect({ text: out + filter.finish(), found: filter.found }).toEqual(want);
      }),
      { numRuns: RUNS },
    );
  });

  it("gives the same for every way of cutting a text", () => {
    const [text, stops] = ["xabababcy", ["ababc", "bb"]];
    for (let cuts = 0; cuts < 2 ** (text.length - 1); cuts++) {
      const filter = new StopStrings(stops);
      let [out, piece] = ["", ""];
      for (let i = 0; i < text.length; i++) {
        piece += text[i];
        if (i === text.length - 1 || (cuts >> i) & 1) {
          out += filter.push(piece);
          piece = "";
        }
      }
      expect(out + filter.finish()).toBe("xab");
    }
  });

  it("gives out at once what cannot begin a stop string, and what was held back when it turns out not to", () => {
    const filter = new StopStrings(["\n\nUser:"]);
    expect(["an answer", "\n", "\n", "Use", "less", "\n\nUser", ": more"].map((t) => filter.push(t))).toEqual(
      ["an answer", "", "", "", "\n\nUseless", "", ""],
    );
    expect(filter.found).toBe("\n\nUser:");
    expect(filter.push("after")).toBe("");
    expect(filter.finish()).toBe("");
  });

  it("matches hidden text as it matches any other, and never gives it out", () => {
    const part = fc.record({ text: word(0, 4), hidden: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 8 }),
        fc.array(word(1, 5), { maxLength: 4 }),
        (parts, stops) => {
          const filter = new StopStrings(stops);
          const out = parts.map(({ text, hidden }) => filter.push(text, hidden)).join("") + filter.finish();
          const whole = reference(parts.map(({ text }) => text).join(""), stops);
          let [shown, at] = ["", 0];
          for (const { text, hidden } of parts) {
            const kept = text.slice(0, Math.max(0, whole.text.length - at));
            if (!hidden) shown += kept;
            at += text.length;
          }
          expect({ out, found: filter.found }).toEqual({ out: shown, found: whole.found });
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("refuses empty stop strings and too many", () => {
    for (const stops of [[""], Array.from({ length: 65 }, (_, i) => `${i}`)]) {
      expect(() => new StopStrings(stops)).toThrow(expect.objectContaining({ code: "bad_argument" }));
    }
  });
});
