import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { loadChatTemplate, renderChat } from "./chat-template.ts";
import { loadEosIds } from "./end-ids.ts";
import { StreamingDetokenizer } from "./streaming-detokenizer.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

interface Entry {
  messages: { role: string; content: string }[];
  prompt_ids: number[];
  base: { ids: number[]; text: string };
  adapter: { ids: number[]; text: string };
}

const { entries, end_id: endId } = JSON.parse(readFileSync("models/lexicon/expected.json", "utf8")) as {
  entries: Entry[];
  end_id: number;
};
const RUNS = process.env.SLOW ? 5000 : 200;

/** A checkpoint with these files beside a weight. */
function checkpointWith(files: Record<string, unknown>): Promise<Checkpoint> {
  const encoded = Object.entries(files).map(([name, value]) => [
    name,
    utf8(typeof value === "string" ? value : JSON.stringify(value)),
  ]);
  const weights = encodeSafetensors([{ name: "a", dtype: "F32", shape: [1], data: new Uint8Array(4) }]);
  return openCheckpoint(
    memoryFileTree(
      { "config.json": utf8("{}"), ...Object.fromEntries(encoded), "model.safetensors": weights },
      "folder",
    ),
  );
}

/** A SentencePiece vocabulary as Llama 2 has it: all bytes, a few pieces, a control token. */
const PIECES = [
  "<unk>",
  "<s>",
  "</s>",
  ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`),
  "▁",
  "▁he",
  "llo",
  "▁world",
  "a",
  "€",
];
const byteId = (byte: number) => 3 + byte;
const SENTENCE_PIECE = {
  added_tokens: [1, 2].map((id) => ({
    id,
    content: PIECES[id],
    special: true,
    normalized: false,
    lstrip: false,
    rstrip: false,
    single_word: false,
  })),
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    byte_fallback: true,
    unk_token: "<unk>",
    vocab: Object.fromEntries(PIECES.map((piece, id) => [piece, id])),
    merges: [],
  },
};

/** Whether no half of a surrogate pair stands alone. */
const isWellFormed = (text: string) => !/\p{Surrogate}/u.test(text);

let lexicon: Checkpoint;
let tokenizer: Tokenizer;
let sentencePiece: Tokenizer;

beforeAll(async () => {
  lexicon = await openCheckpoint(nodeFileTree("models/lexicon/base"));
  tokenizer = await loadTokenizer(lexicon);
  sentencePiece = await loadTokenizer(await checkpointWith({ "tokenizer.json": SENTENCE_PIECE }));
});

function stream(
  of: Tokenizer,
  ids: readonly number[],
  options: { skipSpecialTokens?: boolean } = {},
): string[] {
  const streaming = new StreamingDetokenizer(of, options);
  return [...ids.map((id) => streaming.push(id)), streaming.finish()];
}

describe("tokenizer and chat template of the embedded model", () => {
  it("gives the expected prompt ids and texts", async () => {
    const template = await loadChatTemplate(lexicon);
    expect(entries.length).toBe(24);
    for (const { messages, prompt_ids: promptIds, base, adapter } of entries) {
      const text = await renderChat(lexicon, messages, { addGenerationPrompt: true });
      expect(template.render(messages)).toBe(text);
      expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(promptIds);
      for (const answer of [base, adapter]) {
        expect(tokenizer.detokenize(answer.ids)).toBe(answer.text);
        expect(stream(tokenizer, answer.ids).join("")).toBe(answer.text);
      }
    }
  });

  it("knows its end id and control tokens", async () => {
    expect(tokenizer.eosIds).toEqual([endId]);
    expect(tokenizer.idOf("<|assistant|>")).toBe(2);
    expect(tokenizer.idOf("no such token")).toBeUndefined();
    expect(tokenizer.detokenize([1, 2])).toBe("");
    expect(tokenizer.detokenize([1, 2], { skipSpecialTokens: false })).toBe("<|user|><|assistant|>");
    expect(tokenizer.detokenize([])).toBe("");
    expect(tokenizer.detokenize([999_999])).toBe("");
  });

  it("detokenizes what it encoded, any text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: "grapheme" })), (text) => {
        fc.pre(!/<\|\w+\|>/.test(text) && isWellFormed(text));
        expect(tokenizer.detokenize(tokenizer.encode(text, { addSpecialTokens: false }))).toBe(text);
      }),
      { numRuns: RUNS },
    );
  });
});

describe("loadTokenizer", () => {
  it("takes end ids from generation_config, then config, then tokenizer_config", async () => {
    const files = {
      "tokenizer.json": SENTENCE_PIECE,
      "tokenizer_config.json": { eos_token: { content: "</s>" } },
    };
    const eosIds = async (more: Record<string, unknown>) =>
      (await loadTokenizer(await checkpointWith({ ...files, ...more }))).eosIds;
    expect(await eosIds({})).toEqual([2]);
    expect(await eosIds({ "config.json": { eos_token_id: 7 } })).toEqual([7]);
    expect(
      await eosIds({
        "config.json": { eos_token_id: 7 },
        "generation_config.json": { eos_token_id: [8, 9] },
      }),
    ).toEqual([8, 9]);
    expect(await eosIds({ "config.json": { eos_token_id: null }, "generation_config.json": {} })).toEqual([
      2,
    ]);
    expect(await loadEosIds(await openCheckpoint(nodeFileTree("test/fixtures/golden/llama-f32")))).toEqual([
      2,
    ]);
  });

  it("refuses a missing or unusable tokenizer.json", async () => {
    await expect(loadTokenizer(await checkpointWith({}))).rejects.toMatchObject({
      code: "bad_tokenizer",
      hint: expect.stringMatching(/--ids/),
    });
    for (const content of [
      {},
      [],
      7,
      { ...SENTENCE_PIECE, decoder: { type: "NoSuch" } },
      { ...SENTENCE_PIECE, added_tokens: 3 },
    ]) {
      await expect(loadTokenizer(await checkpointWith({ "tokenizer.json": content }))).rejects.toMatchObject({
        code: "bad_tokenizer",
      });
    }
    await expect(loadTokenizer(await checkpointWith({ "tokenizer.json": "{" }))).rejects.toMatchObject({
      code: "bad_checkpoint",
    });
  });
});

describe("StreamingDetokenizer", () => {
  it("never gives half a character", () => {
    const text = "naïve 😀 日本語 €5 👩‍👩‍👧 é";
    const parts = stream(tokenizer, tokenizer.encode(text, { addSpecialTokens: false }));
    expect(parts.join("")).toBe(text);
    for (const part of parts) expect(isWellFormed(part) && !part.includes("\ufffd")).toBe(true);
    expect(parts).toContain("😀");
    const bytes = stream(sentencePiece, [...utf8(" hé€😀")].map(byteId));
    expect(bytes).toEqual(["", "h", "", "é", "", "", "€", "", "", "", "😀", ""]);
  });

  it("gives the same text as detokenize for any ids, broken bytes and control tokens among them", () => {
    const vocabularies: [Tokenizer, number][] = [
      [tokenizer, 4100],
      [sentencePiece, PIECES.length + 2],
    ];
    for (const [each, size] of vocabularies) {
      // Single bytes come often, so that characters form, break off and go on.
      const id = fc.oneof(
        fc.nat(size - 1),
        fc.nat(size > 4000 ? 260 : 258),
        fc.constantFrom(size - 8, size - 7, size - 6, 1, 2),
      );
      const characters = fc
        .string({ unit: "binary", maxLength: 3 })
        .map((text) => (isWellFormed(text) ? each.encode(text, { addSpecialTokens: false }) : []));
      const ids = fc
        .array(
          fc.oneof(
            id.map((one) => [one]),
            characters,
          ),
          { maxLength: 25 },
        )
        .map((lists) => lists.flat());
      fc.assert(
        fc.property(ids, fc.boolean(), (list, skipSpecialTokens) => {
          expect(stream(each, list, { skipSpecialTokens }).join("")).toBe(
            each.detokenize(list, { skipSpecialTokens }),
          );
        }),
        { numRuns: RUNS },
      );
    }
  });

  it("waits for a character also where the decoder writes a mark for each of its bytes", () => {
    // As Hugging Face's own ByteFallback does: bytes that are not UTF-8 as a whole are all marked.
    const marking: Tokenizer = {
      eosIds: [],
      idOf: () => undefined,
      encode: () => [],
      detokenize(ids) {
        const valid = new TextDecoder().decode(Uint8Array.from(ids));
        return valid.includes("\ufffd") ? "\ufffd".repeat(ids.length) : valid;
      },
    };
    expect(stream(marking, [...utf8("😀")])).toEqual(["", "", "", "😀", ""]);
    expect(stream(marking, [0xff, 0xff, 0xff, 0xff, 0xff]).join("")).toBe("\ufffd".repeat(5));
  });

  it("keeps byte order marks, wherever they stand", () => {
    const mark = [0xef, 0xbb, 0xbf].map(byteId);
    const euro = [0xe2, 0x82, 0xac].map(byteId);
    for (const [ids, text] of [
      [[...mark, 263], "\ufeffa"],
      [[263, ...mark], "a\ufeff"],
      [[...mark, ...mark], "\ufeff\ufeff"],
      [[...euro, ...mark], "€\ufeff"],
      [[...mark, ...euro, 263, ...mark], "\ufeff€a\ufeff"],
    ] as const) {
      expect(sentencePiece.detokenize(ids)).toBe(text);
      expect(stream(sentencePiece, ids).join("")).toBe(text);
    }
  });

  it("keeps the space of a word that follows a control token", () => {
    const ids = [260, 261, 2, 262]; // ▁he llo </s> ▁world
    expect(sentencePiece.detokenize(ids)).toBe("hello world");
    expect(stream(sentencePiece, ids)).toEqual(["he", "llo", "", " world", ""]);
  });
});

describe("GPT-2's split", () => {
  it("takes U+0085 for white space and U+FEFF for none, as the reference does", async () => {
    // Of the reference (tokenizers 0.22.2), whose merges cross from a letter to a mark: only a split keeps them apart.
    const definition = (preTokenizer: unknown) => ({
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: preTokenizer,
      post_processor: null,
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(
          [..."ĠĊa!ï»¿Âħ", "ï»", "ï»¿", "Ġï»¿", "ï»¿!", "Âħ", "!Âħ"].map((token, id) => [token, id]),
        ),
        merges: ["ï »", "ï» ¿", "Ġ ï»¿", "ï»¿ !", "Â ħ", "! Âħ"],
      },
    });
    const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
    for (const step of [
      level,
      { ...level, add_prefix_space: true },
      { type: "Sequence", pretokenizers: [level] },
    ]) {
      const split = await loadTokenizer(await checkpointWith({ "tokenizer.json": definition(step) }));
      const pieces = (text: string) => split.encode(text).map((id) => split.detokenize([id]));
      // A mark joins what is neither letter nor space, and takes the space before it.
      expect(pieces(" a \ufeff")).toEqual([" ", "a", " \ufeff"]);
      expect(pieces(" a\ufeff!")).toEqual([" ", "a", "\ufeff!"]);
      // White space ends what is none.
      expect(pieces(" a!\u0085")).toEqual([" ", "a", "!", "\u0085"]);
    }
  });
});

describe("texts that cannot fit", () => {
  it("are tokenized where one token may cover any text, or none of it counts", async () => {
    const spaces = " ".repeat(5_000);
    for (const change of [
      { pre_tokenizer: { type: "WhitespaceSplit" } },
      { pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "Removed", invert: false } },
      { normalizer: { type: "Strip", strip_left: true, strip_right: true } },
      { added_tokens: [{ ...SENTENCE_PIECE.added_tokens[0], rstrip: true }, SENTENCE_PIECE.added_tokens[1]] },
    ]) {
      const other = await loadTokenizer(
        await checkpointWith({ "tokenizer.json": { ...SENTENCE_PIECE, normalizer: null, ...change } }),
      );
      const ids = other.encode(`<s>${spaces}`, { addSpecialTokens: false });
      expect(other.encode(`<s>${spaces}`, { addSpecialTokens: false, atMost: ids.length })).toEqual(ids);
    }
  });

  it("are refused before they are tokenized, and never one that fits", async () => {
    for (const text of ["word ".repeat(200_000), "x".repeat(1_000_000), "我们".repeat(500_000)]) {
      expect(() => tokenizer.encode(text, { atMost: 8_192 })).toThrow(
        expect.objectContaining({
          code: "context_overflow",
          message: expect.stringMatching(/at least \d+ tokens/),
        }),
      );
    }
    for (const each of [tokenizer, sentencePiece]) {
      fc.assert(
        fc.property(
          fc.array(fc.constantFrom(" ", "\n", "a", "he", "llo", "▁", " ▁", "€", "Ġ", "  ", "hello world "), {
            minLength: 400,
            maxLength: 1200,
          }),
          (parts) => {
            const whole = parts.join("");
            const ids = each.encode(whole);
            expect(each.encode(whole, { atMost: ids.length })).toEqual(ids);
          },
        ),
      );
    }
  });
});

describe("chat template", () => {
  const user = [{ role: "user", content: "hi" }];
  const render = async (files: Record<string, unknown>, options = {}) =>
    renderChat(await checkpointWith(files), user, options);
  const simple =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}";

  it("comes as a text, as named texts, or as a file", async () => {
    const tokens = { bos_token: { content: "<s>" } };
    expect(await render({ "tokenizer_config.json": { ...tokens, chat_template: simple } })).toBe(
      "<s>[user]hi>",
    );
    const named = [
      { name: "tool_use", template: "no" },
      { name: "default", template: simple },
    ];
    expect(
      await render(
        { "tokenizer_config.json": { bos_token: "B", chat_template: named } },
        { addGenerationPrompt: false },
      ),
    ).toBe("B[user]hi");
    expect(
      await render({
        "tokenizer_config.json": { ...tokens, chat_template: "no" },
        "chat_template.jinja": simple,
      }),
    ).toBe("<s>[user]hi>");
  });

  it("renders white space and absent tools as Hugging Face does", async () => {
    const source =
      "\n  {%- if tools is not none %}tools{% endif %}\n  x {{ messages[0]['content'] }}\n{% if true %}\ny\n{% endif %}\n";
    expect(await render({ "chat_template.jinja": source })).toBe("  x hi\ny\n");
  });

  it("reads line ends as jinja2 does", async () => {
    const source =
      "{%- for m in messages -%}\r\n<|user|>\r\n{{ m.content }}\r\n{%- endfor %}\r\n<|assistant|>\r\n";
    expect(await render({ "chat_template.jinja": source })).toBe("<|user|>\nhi<|assistant|>");
    expect(await render({ "chat_template.jinja": "a\rb\r" })).toBe("a\nb");
  });

  it("keeps the indentation of an earlier answer", async () => {
    const source = "{{ messages[0].content.split('</think>')[-1].lstrip('\\n') }}|";
    const messages = [{ role: "user", content: "<think>\na\n</think>\n\n  x" }];
    expect(await renderChat(await checkpointWith({ "chat_template.jinja": source }), messages)).toBe("  x|");
  });

  it("hands variables to the template, and refuses those that would change nothing", async () => {
    const source =
      "{{ messages[0].content }}{% if enable_thinking is defined and enable_thinking is false %}!{% endif %}{{ effort }}";
    const template = await loadChatTemplate(await checkpointWith({ "chat_template.jinja": source }));
    const withVariables = (variables: Record<string, unknown>) => template.render(user, { variables });
    expect(template.render(user)).toBe("hi");
    expect(withVariables({ enable_thinking: false })).toBe("hi!");
    expect(withVariables({ enable_thinking: true, effort: "high" })).toBe("hihigh");
    expect(withVariables({ effort: { a: [1, 2.5, null] } })).toBe("hi{'a': [1, 2.5, None]}");
    expect(() => withVariables({ enable_thinkin: false })).toThrow(
      expect.objectContaining({
        code: "bad_argument",
        hint: expect.stringMatching(/reads effort, enable_thinking$/),
      }),
    );
    for (const variables of [{ messages: [] }, { tools: [] }, { effort: 1e300 }, { effort: () => 1 }]) {
      expect(() => withVariables(variables)).toThrow(expect.objectContaining({ code: "bad_argument" }));
    }
  });

  it("names what it does not support", async () => {
    await expect(render({ "chat_template.jinja": "{% include 'other' %}" })).rejects.toMatchObject({
      code: "bad_tokenizer",
      message: expect.stringMatching(/"include" is not supported/),
    });
    await expect(
      render({ "chat_template.jinja": "{{ messages[0].content|wordwrap }}" }),
    ).rejects.toMatchObject({
      code: "bad_tokenizer",
      message: expect.stringMatching(/the filter "wordwrap" is not supported/),
    });
  });

  it("says when there is none, when it refuses and when it fails", async () => {
    await expect(render({})).rejects.toMatchObject({
      code: "bad_tokenizer",
      message: expect.stringMatching(/no chat template/),
    });
    await expect(render({ "chat_template.jinja": "{% if %}" })).rejects.toMatchObject({
      code: "bad_tokenizer",
    });
    await expect(render({ "chat_template.jinja": "{{ no_such_function() }}" })).rejects.toMatchObject({
      code: "bad_tokenizer",
    });
    await expect(
      render({ "chat_template.jinja": "{{ raise_exception('wants ' + 'a system turn') }}" }),
    ).rejects.toMatchObject({ code: "bad_argument", message: expect.stringMatching(/wants a system turn$/) });
    await expect(renderChat(lexicon, [{ role: "system", content: "secret" }])).rejects.toMatchObject({
      code: "bad_argument",
      message: expect.stringMatching(/user and assistant only, not system/),
    });
  });
});
