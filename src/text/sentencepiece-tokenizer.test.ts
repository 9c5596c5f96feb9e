import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PieceSpec, sentencePieceModel, wordPieces } from "../../test/support/sentencepiece-model.ts";
import { utf8 } from "../base/bytes.ts";
import { type Checkpoint, openCheckpoint, withAdapterText } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { renderChat } from "./chat-template.ts";
import { StreamingDetokenizer } from "./streaming-detokenizer.ts";
import { hasTokenizer, loadTokenizer } from "./tokenizer.ts";

const WEIGHTS = encodeSafetensors([{ name: "a", dtype: "F32", shape: [1], data: new Uint8Array(4) }]);

function folder(files: Record<string, unknown>): Promise<Checkpoint> {
  const encoded = Object.entries({ "config.json": {}, ...files }).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? value : utf8(typeof value === "string" ? value : JSON.stringify(value)),
  ]);
  return openCheckpoint(
    memoryFileTree({ ...Object.fromEntries(encoded), "model.safetensors": WEIGHTS }, "folder"),
  );
}

const MODEL = sentencePieceModel({ pieces: wordPieces(["▁hello", "▁world", "[INST]", "▁user"]) });
const llama = (settings: Record<string, unknown> = {}, model = MODEL) =>
  folder({ "tokenizer.model": model, "tokenizer_config.json": settings });

describe("tokenizer.model", () => {
  it("is used where there is no tokenizer.json", async () => {
    const checkpoint = await llama();
    expect(await hasTokenizer(checkpoint)).toBe(true);
    const tokenizer = await loadTokenizer(checkpoint);
    const ids = tokenizer.encode("hello world");
    expect(ids[0]).toBe(1);
    expect(ids.map((id) => tokenizer.detokenize([id]))).toEqual(["", "hello", "world"]);
    expect(tokenizer.detokenize(ids)).toBe("hello world");
    expect(tokenizer.detokenize(ids, { skipSpecialTokens: false })).toBe("<s> hello world");
    expect(tokenizer.eosIds).toEqual([2]);
    expect(tokenizer.idOf("</s>")).toBe(2);
    expect(tokenizer.idOf("▁hello")).toBe(ids[1]);
    expect(tokenizer.detokenize([1_000_000])).toBe("");
  });

  it("says that a file of that name is a vocabulary of tiktoken", async () => {
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    const lines = ["\0", "\x01", "hello", " world"].map((piece, rank) => `${base64(piece)} ${rank}\n`);
    for (const text of [
      lines.join(""),
      "AAA= 0\nAQA= 1\naGVsbG8= 2\n",
      `${lines.join("").repeat(50)}aGVsbG8`,
    ]) {
      await expect(loadTokenizer(await folder({ "tokenizer.model": text }))).rejects.toMatchObject({
        code: "bad_tokenizer",
        message: expect.stringMatching(/is a tiktoken vocabulary/),
        hint: expect.stringMatching(/tokenizer\.json/),
      });
    }
  });

  it("refuses a text that surely has more tokens than the context, before it is tokenized", async () => {
    const tokenizer = await loadTokenizer(await llama());
    const text = "hello world ".repeat(20_000);
    expect(() => tokenizer.encode(text, { atMost: 5_000 })).toThrow(
      expect.objectContaining({
        code: "context_overflow",
        message: expect.stringMatching(/at least \d+ tokens/),
      }),
    );
    expect(tokenizer.encode("hello world", { atMost: 3 })).toHaveLength(3);
  });

  it("puts begin and end tokens as tokenizer_config says, the begin token once", async () => {
    const encode = async (settings: Record<string, unknown>, text: string, addSpecialTokens = true) =>
      (await loadTokenizer(await llama(settings))).encode(text, { addSpecialTokens });
    const hello = await encode({}, "hello", false);
    expect(hello).toHaveLength(1);
    expect(await encode({ add_bos_token: false, add_eos_token: true }, "hello")).toEqual([...hello, 2]);
    expect(await encode({ bos_token: { content: "</s>" } }, "hello")).toEqual([2, ...hello]);
    expect(await encode({}, "<s>hello")).toEqual([1, ...hello]);
    expect(await encode({}, "<s>hello", false)).toEqual([1, ...hello]);
  });

  it("takes an adapter's control tokens and ends", async () => {
    const base = await llama();
    const id = 1000; // behind the pieces, as padded embeddings have it
    const text = { addedTokens: [{ id, text: "<|im_end|>" }], endIds: [id] };
    const tokenizer = await loadTokenizer(withAdapterText(base, text));
    expect(tokenizer.eosIds).toEqual([2, id]);
    const hello = tokenizer.encode("hello", { addSpecialTokens: false });
    expect(tokenizer.encode("hello<|im_end|>", { addSpecialTokens: false })).toEqual([...hello, id]);
    expect(tokenizer.detokenize([...hello, id])).toBe("hello");
    expect(tokenizer.detokenize([...hello, id], { skipSpecialTokens: false })).toBe("hello<|im_end|>");
    expect((await loadTokenizer(base)).eosIds).toEqual([2]);
  });

  it("legacy decides whether a space is put behind a special token", async () => {
    const shown = async (settings: Record<string, unknown>) => {
      const tokenizer = await loadTokenizer(await llama(settings));
      return tokenizer.detokenize(tokenizer.encode("<s>hello</s>world"), { skipSpecialTokens: false });
    };
    expect(await shown({})).toBe("<s> hello</s> world");
    expect(await shown({ legacy: false })).toBe("<s>hello</s>world");
    const tokenizer = await loadTokenizer(await llama({ legacy: false }));
    expect(tokenizer.encode("hello", { addSpecialTokens: false })).toHaveLength(1);
    const bare = await loadTokenizer(await llama({ add_prefix_space: false }));
    expect(bare.encode("hello", { addSpecialTokens: false }).length).toBeGreaterThan(1);
  });

  it("knows added tokens, the longest first, with the white space that belongs to them", async () => {
    const added = {
      "900": { content: "<|x|>", special: true, rstrip: true, lstrip: true },
      "901": { content: "<|x|>y", special: false },
    };
    const tokenizer = await loadTokenizer(await llama({ added_tokens_decoder: added }));
    const ids = tokenizer.encode("hello  <|x|>  <|x|>y", { addSpecialTokens: false });
    expect(ids.slice(1)).toEqual([900, 901]);
    expect(tokenizer.detokenize(ids)).toBe("hello<|x|>y");
    const older = await loadTokenizer(
      await folder({ "tokenizer.model": MODEL, "added_tokens.json": { "<pad>": 800, word: 801 } }),
    );
    expect(older.encode("<pad>word", { addSpecialTokens: false })).toEqual([800, 801]);
    expect(older.detokenize([800, 801])).toBe("word");
  });

  it("streams what it detokenizes, whatever the ids", async () => {
    for (const name of ["bpe-bytes", "unigram-rules", "unigram-bytes-unused"]) {
      const model = readFileSync(`test/vectors/sentencepiece/${name}.model`);
      const tokenizer = await loadTokenizer(await llama({}, model));
      const id = fc.oneof(fc.nat(421), fc.integer({ min: 3, max: 262 }));
      fc.assert(
        fc.property(fc.array(id, { maxLength: 25 }), fc.boolean(), (ids, skipSpecialTokens) => {
          const streaming = new StreamingDetokenizer(tokenizer, { skipSpecialTokens });
          const parts = [...ids.map((one) => streaming.push(one)), streaming.finish()];
          expect(parts.join("")).toBe(tokenizer.detokenize(ids, { skipSpecialTokens }));
        }),
        { numRuns: process.env.SLOW ? 5000 : 150 },
      );
    }
  });

  it("names the file that cannot be used", async () => {
    await expect(loadTokenizer(await llama({}, utf8("no model")))).rejects.toMatchObject({
      code: "bad_tokenizer",
      message: expect.stringMatching(/^tokenizer\.model /),
    });
    await expect(loadTokenizer(await folder({}))).rejects.toThrow(
      /neither tokenizer.json nor tokenizer.model/,
    );
  });
});

describe("ChatGLM", () => {
  /** The released vocabulary has 64,789 pieces: the ids of the special tokens follow from it. */
  const words = wordPieces(["▁[", "Round", "▁1", "▁hello", "▁sop", "问", "：", "答", "\n"]);
  const filler: PieceSpec[] = Array.from({ length: 64_789 - 259 - words.length }, (_, i) => ({
    text: `\ue000${i}`,
    score: -1e6,
  }));
  const model = sentencePieceModel({ pieces: [...words, ...filler] });
  const open = (name: string, settings: Record<string, unknown> = {}) =>
    folder({
      "config.json": { model_type: "chatglm", _name_or_path: name, eos_token_id: 2 },
      "tokenizer.model": model,
      "tokenizer_config.json": settings,
    });
  const asked = [{ role: "user", content: "hello" }];

  it("2: prompts begin with [gMASK] sop, and go in rounds", async () => {
    const checkpoint = await open("THUDM/chatglm2-6b");
    const tokenizer = await loadTokenizer(checkpoint);
    expect(["[gMASK]", "sop", "<|user|>"].map(tokenizer.idOf)).toEqual([64_790, 64_792, undefined]);
    const text = await renderChat(checkpoint, asked);
    expect(text).toBe("[gMASK]sop[Round 1]\n\n问：hello\n\n答：");
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    expect(ids.slice(0, 2)).toEqual([64_790, 64_792]);
    expect(tokenizer.encode("[Round 1]\n\n问：hello\n\n答：")).toEqual(ids);
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.detokenize(ids)).toBe("[Round 1]\n\n问：hello\n\n答：");
    expect(tokenizer.eosIds).toEqual([2]);
    const turns = [...asked, { role: "assistant", content: "hi" }, { role: "user", content: "more" }];
    expect(await renderChat(checkpoint, turns)).toBe(
      "[gMASK]sop[Round 1]\n\n问：hello\n\n答：hi\n\n[Round 2]\n\n问：more\n\n答：",
    );
    await expect(renderChat(checkpoint, [{ role: "system", content: "x" }])).rejects.toMatchObject({
      code: "bad_argument",
      message: expect.stringMatching(/not system/),
    });
  });

  it("the letters sop in a word are no token", async () => {
    const tokenizer = await loadTokenizer(await open("x"));
    const ids = tokenizer.encode("a sop, eop, sophist", { addSpecialTokens: false });
    expect(ids.every((id) => id < 64_789)).toBe(true);
    expect(tokenizer.detokenize(ids)).toBe("a sop, eop, sophist");
  });

  it("3: a token for each role, whose turn ends an answer", async () => {
    for (const checkpoint of [
      await open("THUDM/chatglm3-6b"),
      await open("x", { additional_special_tokens: ["<|user|>"] }),
    ]) {
      const tokenizer = await loadTokenizer(checkpoint);
      const text = await renderChat(checkpoint, [{ role: "system", content: "s" }, ...asked]);
      expect(text).toBe("[gMASK]sop<|system|>\n s<|user|>\n hello<|assistant|>");
      const ids = tokenizer.encode(text, { addSpecialTokens: false });
      expect(ids.filter((id) => id >= 64_789)).toEqual([64_790, 64_792, 64_794, 64_795, 64_796]);
      expect(tokenizer.eosIds).toEqual([2, 64_795, 64_797]);
    }
  });

  it("a template in the folder wins", async () => {
    const own = await open("THUDM/chatglm3-6b", { chat_template: "own {{ messages[0].content }}" });
    expect(await renderChat(own, asked)).toBe("own hello");
  });
});
