/** tokenizer.json of a BPE vocabulary: of bytes (`tokenizer.ggml.model` "gpt2"), or of characters ("gemma4"). */

import { TacetError } from "../../base/errors.ts";
import type { JsonRecord } from "../json-file.ts";
import type { Metadata } from "./metadata.ts";
import { PRE_TOKENIZERS, split } from "./pre-tokenizers.ts";
import { specialId, TOKEN, vocabularyOf } from "./special-ids.ts";

/** @throws TacetError bad_tokenizer for a split that is not known; bad_checkpoint for lists that do not fit each other */
export function bpeDefinition(m: Metadata): JsonRecord {
  const named = m.text("tokenizer.ggml.pre", "");
  const pre = PRE_TOKENIZERS.get(named);
  if (pre === undefined) {
    const what =
      named === "" ? "is missing" : `is ${JSON.stringify(named.slice(0, 40))}, which is not known here`;
    throw new TacetError("bad_tokenizer", `${m.file.path}: tokenizer.ggml.pre ${what}`, {
      hint: "give token ids with --ids, or take the model's folder from the hub",
    });
  }
  const addSpace = m.flag("tokenizer.ggml.add_space_prefix", false);
  const byGpt2 = pre.splits.length === 0 || pre.thenGpt2 === true;
  return definition(m, {
    addsBos: pre.addBos === true,
    normalizer: pre.normalizer === undefined ? null : { type: pre.normalizer },
    pretokenizers: [
      ...(pre.firstSteps ?? []),
      ...pre.splits.map(split),
      { type: "ByteLevel", add_prefix_space: addSpace, trim_offsets: true, use_regex: byGpt2 },
      ...(pre.thenSteps ?? []),
    ],
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges === true,
    },
  });
}

const SPACE = "\u2581";

/**
 * Gemma 4's: spaces are written as U+2581, and lines are the only stretches; a character without a token is its bytes.
 *
 * @throws as {@link bpeDefinition}
 */
export function characterDefinition(m: Metadata): JsonRecord {
  const { texts } = vocabularyOf(m)!;
  const unknown = specialId(m, "unknown");
  return definition(m, {
    addsBos: true,
    normalizer: { type: "Replace", pattern: { String: " " }, content: SPACE },
    // A run of line ends is one token where there is such a token, whatever its merges say.
    pretokenizers: [split("[^\\n]+|\\n+")],
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
      ],
    },
    model: {
      unk_token: unknown === undefined ? null : texts[unknown],
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: true,
    },
  });
}

interface Parts {
  readonly addsBos: boolean;
  readonly normalizer: JsonRecord | null;
  readonly pretokenizers: readonly JsonRecord[];
  readonly decoder: JsonRecord;
  readonly model: JsonRecord;
}

function definition(m: Metadata, parts: Parts): JsonRecord {
  const { texts, types } = vocabularyOf(m)!;
  const ids = texts.map((_, id) => id);
  const isSpecial = (id: number) => types[id] === TOKEN.control || types[id] === TOKEN.userDefined;
  const kept = ids.filter((id) => !isSpecial(id) && types[id] !== TOKEN.unused);
  // Of a text that is there twice, as some are in Gemma's vocabulary, the later id counts, as in llama.cpp.
  const vocab = new Map(kept.map((id) => [texts[id], id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = ids.filter(isSpecial).filter((id) => texts[id] !== "");
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added.map((id) => ({
      id,
      content: texts[id],
      ...flags,
      special: types[id] === TOKEN.control,
    })),
    normalizer: parts.normalizer,
    pre_tokenizer: { type: "Sequence", pretokenizers: parts.pretokenizers },
    post_processor: template(m, texts, parts.addsBos),
    decoder: parts.decoder,
    model: {
      type: "BPE",
      dropout: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      ...parts.model,
      vocab: Object.fromEntries(vocab),
      merges: m.list("tokenizer.ggml.merges", "string"),
    },
  };
}

/** Begin and end token around a text. */
function template(m: Metadata, texts: readonly string[], addsBos: boolean): JsonRecord | null {
  const wanted = (flag: string, fallback: boolean, name: string) =>
    m.flag(`tokenizer.ggml.${flag}`, fallback) ? specialId(m, name) : undefined;
  const [bos, eos] = [wanted("add_bos_token", addsBos, "bos"), wanted("add_eos_token", false, "eos")];
  if (bos === undefined && eos === undefined) return null;
  const one = (id: number | undefined, type: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: texts[id], type_id: type } }];
  const around = (id: string, type: number) => [
    ...one(bos, type),
    { Sequence: { id, type_id: type } },
    ...one(eos, type),
  ];
  const ids = [bos, eos].filter((id) => id !== undefined);
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(
      ids.map((id) => [texts[id], { id: texts[id], ids: [id], tokens: [texts[id]] }]),
    ),
  };
}
