import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { AnswerText } from "./answer-text.ts";

const RUNS = process.env.SLOW ? 5000 : 200;
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(await openCheckpoint(nodeFileTree("models/lexicon/base")));
});

function run(ids: readonly number[], stops: readonly string[]): { text: string; stop: string | undefined } {
  const answer = new AnswerText(tokenizer, stops);
  const text = ids.map((id) => answer.push(id)).join("") + answer.finish();
  return { text, stop: answer.stop };
}

/** The full text up to the end of the first stop string, without the longest that ends there. */
function reference(text: string, stops: readonly string[]): string {
  for (let end = 1; end <= text.length; end++) {
    const lengths = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map(({ length }) => length);
    if (lengths.length > 0) return text.slice(0, end - Math.max(...lengths));
  }
  return text;
}

describe("AnswerText", () => {
  it("cuts the full text of any ids at a stop string, characters split over tokens included", () => {
    const ids = fc.array(fc.oneof(fc.integer({ min: 4, max: 4095 }), fc.integer({ min: 4, max: 260 })), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        ids,
        fc.nat(),
        fc.integer({ min: 1, max: 9 }),
        fc.string({ maxLength: 2 }),
        (list, at, length, other) => {
          const full = tokenizer.detokenize(list);
          const begin = at % (full.length + 1);
          // A part of the text itself, wherever it is in its tokens, and something else.
          const stops = [full.slice(begin, begin + length), other].filter((stop) => stop !== "");
          expect(run(list, stops).text).toBe(reference(full, stops));
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("gives the same for every way of cutting a text into tokens", () => {
    const text = "the sum of mon😀ey.";
    const [whole, single] = [
      tokenizer.encode(text, { addSpecialTokens: false }),
      // Each character by itself, and so each byte of the emoji.
      [...text].flatMap((character) => tokenizer.encode(character, { addSpecialTokens: false })),
    ];
    expect(single.length).toBeGreaterThan(whole.length);
    for (const stop of ["of", "f m", "um of", "😀", "n😀", "t", "ey."]) {
      const want = { text: text.slice(0, text.indexOf(stop)), stop };
      for (const ids of [whole, single]) expect(run(ids, [stop])).toEqual(want);
      for (let cut = 1; cut < text.length; cut++) {
        if (/^[\udc00-\udfff]/.test(text.slice(cut))) continue;
        const ids = [text.slice(0, cut), text.slice(cut)].flatMap((part) =>
          tokenizer.encode(part, { addSpecialTokens: false }),
        );
        expect(run(ids, [stop])).toEqual(want);
      }
    }
  });

  it("stops at a control token, alone or within a longer stop string", () => {
    const words = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
    const ids = words("one two<|end|>\n<|user|>three<|end|>four");
    expect(run(ids, ["<|end|>"])).toEqual({ text: "one two", stop: "<|end|>" });
    expect(run(ids, ["<|user|>"])).toEqual({ text: "one two\n", stop: "<|user|>" });
    expect(run(ids, ["<|end|>\n<|user|>"])).toEqual({ text: "one two", stop: "<|end|>\n<|user|>" });
    expect(run(ids, ["two<|end|>"])).toEqual({ text: "one ", stop: "two<|end|>" });
    expect(run(ids, ["<|end|>four"])).toEqual({ text: "one two\nthree", stop: "<|end|>four" });
    expect(run(ids, ["<|end|>x"])).toEqual({ text: "one two\nthreefour", stop: undefined });
    expect(run(ids, ["twothree"])).toEqual({ text: "one two\nthreefour", stop: undefined });
  });
});
