/**
 * How a text is cut before byte pairs are merged. A GGUF file has a name for it (`tokenizer.ggml.pre`); the expressions
 * are those of the tokenizers that llama.cpp's converter gives the name to, as their tokenizer.json has them.
 */

import type { JsonRecord } from "../json-file.ts";

export interface PreTokenizer {
  /** Cut with each in turn; empty: GPT-2's own split. */
  readonly splits: readonly string[];
  /** Behind the splits GPT-2's own. */
  readonly thenGpt2?: true;
  /** Behind that, steps of a tokenizer.json that cut the bytes' letters. */
  readonly thenSteps?: readonly JsonRecord[];
  /** Before all, another step than a split. */
  readonly firstSteps?: readonly JsonRecord[];
  readonly normalizer?: "NFC";
  /** A stretch that is a token is one, whatever its merges say. */
  readonly ignoreMerges?: true;
  /** A text begins with the begin token, unless the file says otherwise. */
  readonly addBos?: true;
}

const TAIL = "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const SIGNS = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const THREE_DIGITS = `${WORDS}|\\p{N}{1,3}${SIGNS}${TAIL}`;
const ONE_DIGIT = `${WORDS}|\\p{N}${SIGNS}${TAIL}`;

const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
/** Words by their cases, o200k's and tekken's. @param ends what a word may have at its end */
function cased(ends: string, digits: string): string {
  const start = "[^\\r\\n\\p{L}\\p{N}]?";
  return `${start}${UPPER}*${LOWER}+${ends}|${start}${UPPER}+${LOWER}*${ends}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*${TAIL}`;
}

const DEEPSEEK = [
  "\\p{N}{1,3}",
  "[一-龥぀-ゟ゠-ヿ]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" +
    TAIL,
];

const ACCENTED = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+";
const SIGNS_ALONE = "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*";

/** As all splits here: what an expression matches, and what is between, are stretches. */
export const split = (pattern: string): JsonRecord => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});

const LLAMA3: PreTokenizer = { splits: [THREE_DIGITS], ignoreMerges: true, addBos: true };
const CL100K: PreTokenizer = { splits: [THREE_DIGITS] };
const QWEN2: PreTokenizer = { splits: [ONE_DIGIT], normalizer: "NFC" };
const GPT2: PreTokenizer = { splits: [] };
const SINGLE_DIGITS: PreTokenizer = { splits: ["\\p{N}"], thenGpt2: true };

/** By `tokenizer.ggml.pre`. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  Object.entries({
    "llama-bpe": LLAMA3,
    llama3: LLAMA3,
    "llama-v3": LLAMA3,
    dbrx: CL100K,
    "smaug-bpe": CL100K,
    glm4: CL100K,
    "chatglm-bpe": CL100K,
    qwen2: QWEN2,
    "deepseek-r1-qwen": QWEN2,
    qwen35: { splits: [`${ACCENTED}|\\p{N}${SIGNS_ALONE}${TAIL}`], normalizer: "NFC" },
    stablelm2: { splits: [ONE_DIGIT] },
    hunyuan: { splits: [ONE_DIGIT] },
    "gpt-2": GPT2,
    "phi-2": GPT2,
    mpt: GPT2,
    exaone4: GPT2,
    olmo: { ...GPT2, normalizer: "NFC" },
    starcoder: SINGLE_DIGITS,
    refact: SINGLE_DIGITS,
    smollm: SINGLE_DIGITS,
    codeshell: SINGLE_DIGITS,
    exaone: SINGLE_DIGITS,
    falcon: {
      ...GPT2,
      firstSteps: [{ type: "Punctuation", behavior: "Contiguous" }],
      thenSteps: [{ type: "Digits", individual_digits: false }, split("[0-9][0-9][0-9]")],
    },
    bloom: { splits: [" ?[^(\\s|.,!?…。，、।۔،)]+"] },
    "command-r": { ...SINGLE_DIGITS, normalizer: "NFC" },
    tekken: { splits: [cased("", "\\p{N}")], ignoreMerges: true, addBos: true },
    "gpt-4o": { splits: [cased("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}")] },
    "deepseek-v3": { splits: DEEPSEEK },
    "hunyuan-dense": { splits: DEEPSEEK },
    "seed-coder": { splits: [`${WORDS}|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+${TAIL}`] },
  } satisfies Record<string, PreTokenizer>),
);
