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

  it("keeps the space of a word that follows a control token", () => {
    const ids = [260, 261, 2, 262]; // ▁he llo </s> ▁world
    expect(sentencePiece.detokenize(ids)).toBe("hello world");
    expect(stream(sentencePiece, ids)).toEqual(["he", "llo", "", " world", ""]);
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
