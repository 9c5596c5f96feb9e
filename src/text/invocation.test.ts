import { describe, expect, it } from "vitest";
import { lexicon } from "../../test/support/models.ts";
import { invocationInText } from "./invocation.ts";
import { loadTokenizer } from "./tokenizer.ts";

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

  it("with words that the chat template writes is one of the template", async () => {
    const template =
      "{% for m in messages %}<|user|>ask: {{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>law{% endif %}";
    const json = async (name: string) => {
      const value = await checkpoint.json(name);
      return name === "tokenizer_config.json" ? { ...(value as object), chat_template: template } : value;
    };
    const withWords = { ...checkpoint, json, text: checkpoint.text.bind(checkpoint) };
    expect(await invocationInText(withWords, ids("<|assistant|>law"))).toBeUndefined();
    expect(await invocationInText(withWords, ids("<|assistant|>tender"))).toBeDefined();
  });
});
