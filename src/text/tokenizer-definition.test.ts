import { describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { loadTokenizer } from "./tokenizer.ts";

const SPECIALS = { "<unk>": 0, "<s>": 1, "</s>": 2, "<bos>": 8 };
const VOCAB = { ...SPECIALS, h: 3, e: 4, l: 5, o: 6, hello: 7, he: 9, ll: 10, hell: 11 };
const TEXT_OF = new Map(Object.entries(VOCAB).map(([text, id]) => [id, text]));
const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const TEMPLATE = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
};
const PROCESSORS = { ByteLevel: BYTE_LEVEL, Template: TEMPLATE, none: null };

function definition(post: unknown): object {
  return {
    version: "1.0",
    added_tokens: Object.entries(SPECIALS).map(([content, id]) => ({
      ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
    normalizer: null,
    pre_tokenizer: BYTE_LEVEL,
    post_processor: post,
    decoder: BYTE_LEVEL,
    model: { type: "BPE", vocab: VOCAB, merges: ["h e", "l l", "he ll", "hell o"] },
  };
}

async function tokens(post: keyof typeof PROCESSORS, settings: object): Promise<string> {
  const files = {
    "config.json": { model_type: "llama" },
    "tokenizer.json": definition(PROCESSORS[post]),
    "tokenizer_config.json": {
      bos_token: post === "Template" ? "<s>" : "<bos>",
      eos_token: "</s>",
      ...settings,
    },
  };
  const tree = memoryFileTree(
    {
      ...Object.fromEntries(
        Object.entries(files).map(([name, value]) => [name, utf8(JSON.stringify(value))]),
      ),
      "model.safetensors": encodeSafetensors([]),
    },
    "folder",
  );
  const tokenizer = await loadTokenizer(await openCheckpoint(tree));
  expect(tokenizer.encode("hello", { addSpecialTokens: false })).toEqual([7]);
  return tokenizer
    .encode("hello")
    .map((id) => TEXT_OF.get(id))
    .join(" ");
}

const llama = { tokenizer_class: "LlamaTokenizerFast" };

describe("add_bos_token and add_eos_token beside a tokenizer.json", () => {
  // What AutoTokenizer of transformers 4.57.6 gives for these files.
  it.each([
    ["ByteLevel", { add_bos_token: true }, "<bos> hello"],
    ["ByteLevel", { add_bos_token: false }, "hello"],
    ["ByteLevel", { add_bos_token: true, add_eos_token: true }, "<bos> hello </s>"],
    ["ByteLevel", { add_eos_token: true }, "<bos> hello </s>"],
    ["ByteLevel", { add_bos_token: false, add_eos_token: true }, "hello </s>"],
    ["Template", { add_bos_token: false, add_eos_token: true }, "hello </s>"],
    ["Template", { add_bos_token: true, add_eos_token: true }, "<s> hello </s>"],
    ["Template", { add_bos_token: false }, "hello"],
    ["none", { add_bos_token: true }, "<bos> hello"],
    ["none", { add_bos_token: false, add_eos_token: true }, "hello </s>"],
  ] as const)("%s, %j", async (post, flags, expected) => {
    for (const name of ["LlamaTokenizerFast", "LlamaTokenizer", "GemmaTokenizer", "CohereTokenizerFast"])
      expect(await tokens(post, { tokenizer_class: name, ...flags }), name).toBe(expected);
    // Other classes follow tokenizer.json alone.
    const alone = post === "Template" ? "<s> hello" : "hello";
    for (const name of ["PreTrainedTokenizerFast", "Qwen2Tokenizer", "GPT2Tokenizer"])
      expect(await tokens(post, { tokenizer_class: name, ...flags }), name).toBe(alone);
  });

  it("follows tokenizer.json where they say nothing, or name a token that there is not", async () => {
    expect(await tokens("Template", llama)).toBe("<s> hello");
    expect(await tokens("ByteLevel", llama)).toBe("hello");
    expect(await tokens("ByteLevel", { ...llama, add_bos_token: null, add_eos_token: null })).toBe("hello");
    expect(await tokens("ByteLevel", { ...llama, add_bos_token: true, bos_token: null })).toBe("hello");
    expect(await tokens("ByteLevel", { ...llama, add_bos_token: true, bos_token: "<none>" })).toBe("hello");
    expect(await tokens("ByteLevel", { ...llama, add_bos_token: true, bos_token: { content: "<s>" } })).toBe(
      "<s> hello",
    );
  });
});
