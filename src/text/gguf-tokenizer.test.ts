/** The tokenizer and template of a GGUF file, held to those of the folder it was made from. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { withOtherFields } from "../../test/support/gguf-values.ts";
import { sentencePieceModel, wordPieces } from "../../test/support/sentencepiece-model.ts";
import { folderGguf } from "../../tools/gguf/from-folder.ts";
import { bpeMetadata, sentencePieceMetadata } from "../../tools/gguf/tokenizer-metadata.ts";
import { type GgufValue, ggufBytes } from "../../tools/gguf/write-gguf.ts";
import { utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { nodeFileTree } from "../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { PRE_TOKENIZERS } from "../weights/gguf/pre-tokenizers.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { renderChat } from "./chat-template.ts";
import { loadEosIds } from "./end-ids.ts";
import { hasTokenizer, loadTokenizer } from "./tokenizer.ts";

const LEXICON = "models/lexicon/base";
const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));
const definition = json(`${LEXICON}/tokenizer.json`);
const settings = json(`${LEXICON}/tokenizer_config.json`);

async function ggufWith(tokenizer: Record<string, GgufValue>): Promise<Checkpoint> {
  const file = await folderGguf("test/fixtures/golden-hf/phi3", { tokenizer });
  return await openCheckpoint(memoryFileTree({ "m.gguf": ggufBytes(file) }));
}

/** A folder with this tokenizer.json. */
async function folderWith(tokenizerJson: unknown, tokenizerConfig: unknown): Promise<Checkpoint> {
  const weights = encodeSafetensors([{ name: "a", dtype: "F32", shape: [1], data: new Uint8Array(4) }]);
  const files = {
    "config.json": {},
    "tokenizer.json": tokenizerJson,
    "tokenizer_config.json": tokenizerConfig,
  };
  const encoded = Object.entries(files).map(([name, value]) => [name, utf8(JSON.stringify(value))]);
  return await openCheckpoint(
    memoryFileTree({ ...Object.fromEntries(encoded), "model.safetensors": weights }),
  );
}

const TEXTS = [
  "",
  " ",
  "tender",
  "A tender is an offer, isn't it? I'LL say: 12345 x 678.90",
  "  two  spaces\tand\ttabs \n\n\nlines\r\n  end  ",
  "<|user|>What is a tender?<|end|><|assistant|>",
  "naïve café, straße; Ελληνικά и русский 中文 日本語 한국어 😀",
  "e\u0301 and \u00e9; \ufb01nal; x\u00b2 \u00bd",
  "camelCase HTTPServer snake_case a/b//c ...!!!",
];

/** tokenizer.json's part before the model, as the originals of these names have it. */
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const split = (pattern: string) => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});
const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const ORIGINALS: Record<string, object> = {
  "llama-bpe": { pre_tokenizer: split(LLAMA3) },
  qwen2: { pre_tokenizer: split(LLAMA3.replace("{1,3}", "")), normalizer: { type: "NFC" } },
  "gpt-2": { pre_tokenizer: byteLevel },
  falcon: {
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Punctuation", behavior: "Contiguous" },
        byteLevel,
        { type: "Digits", individual_digits: false },
        { type: "Split", pattern: { Regex: "[0-9][0-9][0-9]" }, behavior: "Isolated", invert: false },
      ],
    },
  },
  bloom: { pre_tokenizer: split(" ?[^(\\s|[.,!?…。，、।۔،])]+") },
  starcoder: {
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "Digits", individual_digits: true }, byteLevel],
    },
  },
};

describe.each(Object.entries(ORIGINALS))("BPE, cut as by %s", (pre, part) => {
  it("gives the ids of the tokenizer.json", async () => {
    const want = await loadTokenizer(await folderWith({ ...definition, ...part }, settings));
    const got = await loadTokenizer(await ggufWith(bpeMetadata(definition, settings, pre)));
    for (const text of TEXTS) {
      const ids = want.encode(text, { addSpecialTokens: false });
      expect(got.encode(text, { addSpecialTokens: false })).toEqual(ids);
      expect(got.detokenize(ids, { skipSpecialTokens: false })).toBe(
        want.detokenize(ids, { skipSpecialTokens: false }),
      );
    }
    expect(got.eosIds).toEqual(want.eosIds);
  });
});

describe("BPE", () => {
  it.each([...PRE_TOKENIZERS.keys()])("%s cuts every text without loss", async (pre) => {
    const tokenizer = await loadTokenizer(await ggufWith(bpeMetadata(definition, settings, pre)));
    for (const text of TEXTS) {
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      const want = PRE_TOKENIZERS.get(pre)!.normalizer ? text.normalize("NFC") : text;
      expect(tokenizer.detokenize(ids, { skipSpecialTokens: false })).toBe(want);
    }
  });

  it("puts the begin token before a text where the file or its split says so", async () => {
    const begins = { ...settings, bos_token: "<|user|>" };
    const ids = async (metadata: Record<string, GgufValue>) =>
      (await loadTokenizer(await ggufWith(metadata))).encode("tender");
    const { add_bos_token, ...unsaid } = begins;
    expect((await ids(bpeMetadata(definition, { ...begins, add_bos_token: true }, "qwen2")))[0]).toBe(1);
    expect((await ids(bpeMetadata(definition, unsaid, "llama-bpe")))[0]).toBe(1);
    expect((await ids(bpeMetadata(definition, unsaid, "qwen2")))[0]).not.toBe(1);
    expect((await ids(bpeMetadata(definition, begins, "llama-bpe")))[0]).not.toBe(1);
    const ends = { ...settings, add_eos_token: true };
    expect((await ids(bpeMetadata(definition, ends, "qwen2"))).at(-1)).toBe(3);
  });

  it.each([
    ["default", /tokenizer\.ggml\.pre is "default"/],
    ["", /tokenizer\.ggml\.pre is missing/],
  ])("refuses the split %j by its name", async (pre, message) => {
    const checkpoint = await ggufWith(bpeMetadata(definition, settings, pre));
    await expect(loadTokenizer(checkpoint)).rejects.toMatchObject({ code: "bad_tokenizer", message });
  });

  it("has the chat template, and every token that ends an answer", async () => {
    const checkpoint = await ggufWith(bpeMetadata(definition, settings, "gpt-2"));
    const messages = [{ role: "user", content: "tender" }];
    expect(await renderChat(checkpoint, messages)).toBe(
      await renderChat(await openCheckpoint(nodeFileTree(LEXICON)), messages),
    );
    expect(await loadEosIds(checkpoint)).toEqual([3]);
    // Named by nothing but its text, as Llama 3's <|eot_id|>.
    const turned = { ...settings, eos_token: "<|pad|>" };
    expect(await loadEosIds(await ggufWith(bpeMetadata(definition, turned, "gpt-2")))).toEqual([0, 3]);
  });

  it("goes on behind a message that is not the last, in gpt-oss's vocabulary", async () => {
    const { added_tokens: added } = definition as { added_tokens: { id: number; content: string }[] };
    const named = (texts: readonly string[]) => ({
      ...definition,
      added_tokens: added.map((token, i) => ({ ...token, content: texts[i] ?? `<${i}>` })),
    });
    const endsOf = async (texts: readonly string[]) => {
      return await loadEosIds(await ggufWith(bpeMetadata(named(texts), {}, "gpt-4o")));
    };
    const [first, second, third] = added.map(({ id }) => id);
    expect(await endsOf(["<|return|>", "<|call|>", "<|end|>"])).toEqual([first, second]);
    expect(await endsOf(["<|return|>", "<|start|>", "<|end|>"])).toEqual([first, third]);
  });
});

describe("BPE of characters", () => {
  /** The embedded model's merges that have characters of ASCII alone, with U+2581 for the space, and bytes. */
  function characters(): Record<string, GgufValue> {
    const { vocab, merges } = definition.model as { vocab: Record<string, number>; merges: string[] };
    const plain = (text: string) => text.replaceAll("Ġ", "\u2581").replaceAll("Ċ", "\n");
    const isKept = (text: string) => /^[\x21-\x7e\u2581\n]+$/.test(plain(text));
    const bytes = Array.from(
      { length: 256 },
      (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    const own = Object.keys(vocab).filter(isKept).map(plain);
    const tokens = ["<pad>", "<eos>", "<bos>", "<unk>", ...bytes, ...own, "\n\n", "\n\n\n"];
    const types = tokens.map((_, id) => (id === 3 ? 2 : id < 4 ? 3 : id < 260 ? 6 : 1));
    return {
      "tokenizer.ggml.model": ["string", "gemma4"],
      "tokenizer.ggml.tokens": ["string[]", tokens],
      "tokenizer.ggml.token_type": ["int32[]", types],
      "tokenizer.ggml.merges": [
        "string[]",
        merges.filter((pair) => pair.split(" ").every(isKept)).map(plain),
      ],
      "tokenizer.ggml.bos_token_id": ["uint32", 2],
      "tokenizer.ggml.eos_token_id": ["uint32", 1],
      "tokenizer.ggml.unknown_token_id": ["uint32", 3],
      "tokenizer.ggml.add_space_prefix": ["bool", false],
    };
  }

  it("writes every text, runs of line ends as one token, and what has none as bytes", async () => {
    const tokenizer = await loadTokenizer(await ggufWith(characters()));
    for (const text of TEXTS) {
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      expect(tokenizer.detokenize(ids, { skipSpecialTokens: false })).toBe(text);
    }
    const three = tokenizer.idOf("\n\n\n")!;
    expect(tokenizer.encode("a\n\n\nb", { addSpecialTokens: false })[1]).toBe(three);
    expect(tokenizer.encode("é", { addSpecialTokens: false })).toEqual([4 + 0xc3, 4 + 0xa9]);
    expect(tokenizer.encode("tender")[0]).toBe(2);
    expect(tokenizer.encode("a tender", { addSpecialTokens: false }).length).toBeLessThan(5);
  });
});

const VECTORS = "test/vectors/sentencepiece";
const BPE_MODELS = readdirSync(VECTORS).filter((name) => /^bpe-bytes.*\.model$/.test(name));

describe("sentencepiece", () => {
  it.each(BPE_MODELS)("%s: gives the ids of the reference implementation", async (name) => {
    const model = readFileSync(`${VECTORS}/${name}`);
    const tokenizer = await loadTokenizer(await ggufWith(sentencePieceMetadata(model)));
    const { encode } = json(`${VECTORS}/${name.replace(".model", ".json")}`) as {
      encode: [string, number[]][];
    };
    // Texts that spell a control token are cut there first.
    const plain = encode.filter(([text]) => !/<.*>/.test(text));
    expect(plain.length).toBeGreaterThan(80);
    expect(
      plain.filter(
        ([text, ids]) => tokenizer.encode(text, { addSpecialTokens: false }).join() !== ids.join(),
      ),
    ).toEqual([]);
  });

  it("begins a text as the original does, and takes control tokens as such", async () => {
    const model = sentencePieceModel({ pieces: wordPieces(["▁hello", "▁world"]) });
    const tokenizer = await loadTokenizer(await ggufWith(sentencePieceMetadata(model)));
    const ids = tokenizer.encode("hello world");
    expect(ids[0]).toBe(1);
    expect(tokenizer.detokenize(ids)).toBe("hello world");
    expect(tokenizer.encode("hello</s>", { addSpecialTokens: false }).at(-1)).toBe(2);
    expect(tokenizer.eosIds).toEqual([2]);
    const without = sentencePieceMetadata(model, { add_bos_token: false });
    expect((await loadTokenizer(await ggufWith(without))).encode("hello")[0]).not.toBe(1);
  });

  it("may have as many tokens as the largest vocabularies", async () => {
    const model = sentencePieceModel({
      pieces: Array.from({ length: 140_000 }, (_, i) => ({ text: `t${i}`, score: -i })),
    });
    const tokenizer = await loadTokenizer(await ggufWith(sentencePieceMetadata(model)));
    expect(tokenizer.idOf("t139999")).toBe(140_258);
  });

  it("puts no space before a text where the file says so", async () => {
    const model = sentencePieceModel({ pieces: wordPieces(["▁hello", "hello"]), addDummyPrefix: false });
    const tokenizer = await loadTokenizer(await ggufWith(sentencePieceMetadata(model)));
    expect(tokenizer.detokenize(tokenizer.encode("hello"), { skipSpecialTokens: false })).toBe("<s>hello");
  });
});

describe("with fields of other values", () => {
  const small = sentencePieceModel({ pieces: wordPieces(["▁hello", "▁world"]) });
  const kinds = {
    BPE: bpeMetadata(definition, settings, "llama-bpe"),
    sentencepiece: sentencePieceMetadata(small),
  };
  it.each(Object.entries(kinds))("%s tokenizes, or is refused", async (_, good) => {
    const file = await folderGguf("test/fixtures/golden-hf/phi3", { tokenizer: good });
    await fc.assert(
      fc.asyncProperty(withOtherFields(file.metadata, Object.keys(good)), async (metadata) => {
        try {
          const checkpoint = await openCheckpoint(
            memoryFileTree({ "m.gguf": ggufBytes({ ...file, metadata }) }),
          );
          if (!(await hasTokenizer(checkpoint))) return;
          const tokenizer = await loadTokenizer(checkpoint);
          for (const text of ["", "hello world", "<|user|>x", "😀"])
            tokenizer.detokenize(tokenizer.encode(text), { skipSpecialTokens: false });
          await renderChat(checkpoint, [{ role: "user", content: "x" }]);
        } catch (error) {
          if (!(error instanceof TacetError)) throw error;
        }
      }),
      { numRuns: process.env.SLOW ? 5_000 : 60 },
    );
  });
});

describe("without a tokenizer that is read", () => {
  it("a file may have none: ids only", async () => {
    expect(await hasTokenizer(await ggufWith({}))).toBe(false);
  });

  it("another kind is refused by its name, when text is given", async () => {
    const checkpoint = await ggufWith({
      ...bpeMetadata(definition, settings, "gpt-2"),
      "tokenizer.ggml.model": ["string", "t5"],
    });
    await expect(loadTokenizer(checkpoint)).rejects.toMatchObject({
      code: "bad_tokenizer",
      message: expect.stringMatching(/tokenizer\.ggml\.model "t5"/),
    });
  });
});
