import { describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import type { FileTree } from "../base/platform.ts";
import { readGenerationDefaults } from "../generation/generation-defaults.ts";
import { nodeFileTree } from "../platform/node.ts";
import type { AdapterText } from "../weights/adapter-text.ts";
import { type Checkpoint, openCheckpoint, withAdapterText } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { joinAdapterText } from "./adapter-text.ts";
import { readAdapterText } from "./read-adapter-text.ts";
import { hasChatTemplate, loadChatTemplate } from "./chat-template.ts";
import { loadTokenizer } from "./tokenizer.ts";

const VOCABULARY = 4096;
const BASE = nodeFileTree("models/lexicon/base");
/** The embedded base (pad 0, user 1, assistant 2, end 3; 4,096 ids) with some of its files changed. */
async function base(
  changed: Record<string, (file: Record<string, unknown>) => object> = {},
): Promise<Checkpoint> {
  const tree: FileTree = {
    ...BASE,
    async size(path) {
      return (await changedFile(path))?.length ?? BASE.size(path);
    },
    async read(path, offset, length) {
      return (await changedFile(path))?.slice(offset, offset + length) ?? BASE.read(path, offset, length);
    },
  };
  async function changedFile(path: string): Promise<Uint8Array | undefined> {
    const change = changed[path];
    if (change === undefined) return undefined;
    const size = (await BASE.size(path)) ?? 0;
    const text = size === 0 ? "{}" : new TextDecoder().decode(await BASE.read(path, 0, size));
    return utf8(JSON.stringify(change(JSON.parse(text))));
  }
  return await openCheckpoint(tree);
}

/** A base model that was not trained for chat: no template, and another end. */
const plainBase = () =>
  base({
    "generation_config.json": (file) => ({ ...file, eos_token_id: 4000 }),
    "tokenizer_config.json": ({ chat_template: _, ...file }) => ({ ...file, eos_token: "<|pad|>" }),
  });

const adapter = (files: Record<string, unknown>): FileTree =>
  memoryFileTree(
    Object.fromEntries(
      Object.entries(files).map(([name, value]) => [
        name,
        utf8(typeof value === "string" ? value : JSON.stringify(value)),
      ]),
    ),
    "adapter",
  );

const TEMPLATE =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|assistant|>{% endif %}";

const textOf = async (files: Record<string, unknown>, on?: Checkpoint): Promise<AdapterText | undefined> =>
  (await readAdapterText(adapter(files), on ?? (await plainBase()), VOCABULARY)).text;

describe("readAdapterText", () => {
  it("is nothing for an adapter that says nothing, or what its base says", async () => {
    expect(await textOf({})).toBeUndefined();
    const whole = await base();
    const files = Object.fromEntries(
      await Promise.all(
        ["tokenizer_config.json", "generation_config.json", "tokenizer.json"].map(async (name) => [
          name,
          await whole.json(name),
        ]),
      ),
    );
    expect(await textOf(files, whole)).toBeUndefined();
  });

  it.each<[string, Record<string, unknown>, AdapterText]>([
    [
      "eos_token",
      { "tokenizer_config.json": { eos_token: "<|end|>" } },
      { specialTokens: { eos_token: "<|end|>" }, endIds: [3] },
    ],
    ["eos_token_id", { "generation_config.json": { eos_token_id: [3, 4000, 1] } }, { endIds: [3, 1] }],
    ["chat_template.jinja", { "chat_template.jinja": TEMPLATE }, { chatTemplate: TEMPLATE, endIds: [3] }],
    [
      "chat_template",
      { "tokenizer_config.json": { chat_template: TEMPLATE } },
      { chatTemplate: TEMPLATE, endIds: [3] },
    ],
    [
      "a list of templates",
      {
        "tokenizer_config.json": {
          chat_template: [
            { name: "tool_use", template: "x" },
            { name: "default", template: TEMPLATE },
          ],
        },
      },
      { chatTemplate: TEMPLATE, endIds: [3] },
    ],
    [
      "additional_chat_templates",
      { "additional_chat_templates/default.jinja": TEMPLATE },
      { chatTemplate: TEMPLATE, endIds: [3] },
    ],
    [
      "chat_template.json",
      { "chat_template.json": { chat_template: TEMPLATE } },
      { chatTemplate: TEMPLATE, endIds: [3] },
    ],
  ])("reads %s", async (_, files, expected) => {
    expect(await textOf(files)).toEqual(expected);
  });

  it("reads control tokens that the base keeps in reserve, wherever they are listed", async () => {
    // Id 4093 has no text in this tokenizer, and a row in the embeddings.
    const on = await base({
      "tokenizer.json": (file) => {
        const model = file.model as { vocab: Record<string, number>; merges: unknown[] };
        const vocab = Object.fromEntries(Object.entries(model.vocab).filter(([, id]) => id < 4093));
        const merges = model.merges.filter((merge) => {
          const [a, b] = typeof merge === "string" ? merge.split(" ") : (merge as string[]);
          return Object.hasOwn(vocab, a + b);
        });
        return { ...file, model: { ...model, vocab, merges } };
      },
    });
    const token = { content: "<|im_end|>", special: true };
    for (const files of [
      { "tokenizer.json": { added_tokens: [{ id: 4093, ...token }] } },
      { "tokenizer_config.json": { added_tokens_decoder: { 4093: token } } },
      { "added_tokens.json": { "<|im_end|>": 4093 } },
    ]) {
      const text = await textOf({ "generation_config.json": { eos_token_id: 4093 }, ...files }, on);
      expect(text).toEqual({ addedTokens: [{ id: 4093, text: "<|im_end|>" }], endIds: [4093] });
      const joined = await loadTokenizer(await joinAdapterText(on, text, VOCABULARY));
      expect(joined.encode("a<|im_end|>", { addSpecialTokens: false }).at(-1)).toBe(4093);
      expect(joined.detokenize([4093])).toBe("");
      expect(joined.eosIds).toEqual([3, 4093]);
    }
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      "a token outside the vocabulary as end",
      {
        "tokenizer_config.json": {
          eos_token: "<|im_end|>",
          added_tokens_decoder: { 4096: { content: "<|im_end|>" } },
        },
      },
      /outside the base model's vocabulary of 4096/,
    ],
    [
      "a template with such a token",
      { "chat_template.jinja": "<|im_start|>", "added_tokens.json": { "<|im_start|>": 5000 } },
      /outside the base model's vocabulary/,
    ],
    ["an unknown eos_token", { "tokenizer_config.json": { eos_token: "<|im_end|>" } }, /is no token/],
    ["another tokenizer", { "added_tokens.json": { "<|end|>": 7 } }, /at 7, the base model's at 3/],
    ["an ordinary word as end", { "generation_config.json": { eos_token_id: 300 } }, /no control token/],
    ["an end outside the vocabulary", { "generation_config.json": { eos_token_id: 4096 } }, /4096/],
    ["a word in use", { "added_tokens.json": { "<|new|>": 300 } }, /in use/],
    ["a template without end", { "chat_template.jinja": "x".repeat(65_537) }, /65537 characters/],
  ])("refuses %s", async (_, files, message) => {
    await expect(textOf(files)).rejects.toMatchObject({
      code: "unsupported_adapter",
      message: expect.stringMatching(message),
    });
  });

  it("passes over tokens outside the vocabulary that nothing uses, such as padding", async () => {
    expect(
      await textOf({
        "added_tokens.json": { "<pad>": 4096 },
        "tokenizer_config.json": { pad_token: "<pad>" },
      }),
    ).toBeUndefined();
  });

  it("says whether a template reads what messages say", async () => {
    const reads = async (source: string) =>
      (await readAdapterText(adapter({ "chat_template.jinja": source }), await plainBase(), VOCABULARY))
        .readsMessages;
    expect(await reads(TEMPLATE)).toBe(false);
    expect(await reads("{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}")).toBe(
      true,
    );
  });
});

describe("an adapter's text on its base", () => {
  it("adds ends to those of the base, and takes the place of its template", async () => {
    const on = withAdapterText(await plainBase(), { endIds: [3], chatTemplate: TEMPLATE });
    expect((await loadTokenizer(on)).eosIds).toEqual([4000, 3]);
    expect((await readGenerationDefaults(on)).eosIds).toEqual([4000, 3]);
    expect(await hasChatTemplate(on)).toBe(true);
    expect(await hasChatTemplate(await plainBase())).toBe(false);
    expect(await hasChatTemplate(await base())).toBe(true);
    expect((await loadChatTemplate(on)).render([{ role: "user", content: "tender" }])).toBe(
      "<|user|>tender<|end|>\n<|assistant|>",
    );
  });

  it("gives the base's template the adapter's tokens", async () => {
    const on = await base({
      "tokenizer_config.json": (file) => ({ ...file, chat_template: "{{ eos_token }}" }),
    });
    const joined = await joinAdapterText(on, { specialTokens: { eos_token: "<|user|>" } }, VOCABULARY);
    expect((await loadChatTemplate(joined)).render([])).toBe("<|user|>");
  });

  it.each<[string, AdapterText]>([
    ["an end outside the vocabulary", { endIds: [4096] }],
    ["an ordinary word as end: where an answer has it would be its length", { endIds: [3, 300] }],
    ["a token outside the vocabulary", { addedTokens: [{ id: 4096, text: "<|x|>" }] }],
    ["a token in the place of a word", { addedTokens: [{ id: 300, text: "<|x|>" }] }],
    ["a token that the base has elsewhere", { addedTokens: [{ id: 0, text: "<|end|>" }] }],
    ["a special token that is none", { specialTokens: { eos_token: "a long text instead" } }],
  ])("is refused in a bundle with %s", async (_, text) => {
    await expect(joinAdapterText(await base(), text, VOCABULARY)).rejects.toMatchObject({
      code: "bad_bundle",
    });
  });
});
