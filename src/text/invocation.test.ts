import { describe, expect, it } from "vitest";
import { lexicon } from "../../test/support/models.ts";
import { withAdapterText } from "../weights/checkpoint.ts";
import { invocationInText } from "./invocation.ts";
import { isControlToken } from "./control-text.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

describe("an invocation", async () => {
  const { checkpoint } = await lexicon();
  const tokenizer = await loadTokenizer(checkpoint);
  const ids = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

  it.each(["<|assistant|>", "<|end|>", "<|end|><|assistant|>", "<|pad|><|user|>"])(
    "of control tokens stands where it does whatever is said: %s",
    async (text) => {
      expect(await invocationInText(checkpoint, ids(text))).toBeUndefined();
    },
  );

  it.each([
    "tender",
    "<|user|>tender",
    "tender<|end|>",
    "<|user|>Hm",
    "<|user|>Je<|end|>",
    "Mmm<|end|><|user|>",
  ])("that has words which people may write is given as text: %s", async (text) => {
    expect(await invocationInText(checkpoint, ids(text))).toBe(
      tokenizer.detokenize(ids(text), { skipSpecialTokens: false }),
    );
  });

  it("with words is given as text also where a chat template writes them: people may write the same", async () => {
    const template =
      "<|pad|>tender{% for m in messages %}<|user|>ask: {{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>law{% endif %}";
    const withWords = withAdapterText(checkpoint, { chatTemplate: template });
    for (const text of ["<|assistant|>law", "tender", "<|user|>ask", "<|pad|>tender<|user|>"])
      expect(await invocationInText(withWords, ids(text)), text).toBeDefined();
    expect(await invocationInText(withWords, ids("<|assistant|>"))).toBeUndefined();
  });

  it("of a token that stands for all unknown characters, or only looks like a control token, is none of control tokens", () => {
    const pieces = ["<unk>", "<|go|>", "[0]", "<br>"];
    const stub: Tokenizer = {
      encode: () => [0],
      detokenize: (given, { skipSpecialTokens = true } = {}) =>
        given.map((id) => (skipSpecialTokens && id < 2 ? "" : pieces[id])).join(""),
      idOf: (token) => pieces.indexOf(token),
      eosIds: [],
    };
    expect(pieces.map((_, id) => isControlToken(stub, id))).toEqual([false, true, false, false]);
  });
});
