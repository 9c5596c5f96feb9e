/** tokenizer.json of a byte-level BPE vocabulary (`tokenizer.ggml.model` "gpt2"). */

import { TacetError } from "../../base/errors.ts";
import type { JsonRecord } from "../json-file.ts";
import type { Metadata } from "./metadata.ts";
import { PRE_TOKENIZERS } from "./pre-tokenizers.ts";
import { specialId, TOKEN, vocabularyOf } from "./special-ids.ts";

/** @throws TacetError bad_tokenizer for a split that is not known; bad_checkpoint for lists that do not fit each other */
export function bpeDefinition(m: Metadata): JsonRecord {
  const { texts, types } = vocabularyOf(m)!;
  const named = m.text("tokenizer.ggml.pre", "");
  const pre = PRE_TOKENIZERS.get(named);
  if (pre === undefined) {
    const what =
      named === "" ? "is missing" : `is ${JSON.stringify(named.slice(0, 40))}, which is not known here`;
    throw new TacetError("bad_tokenizer", `${m.file.path}: tokenizer.ggml.pre ${what}`, {
      hint: "give token ids with --ids, or take the model's folder from the hub",
    });
  }
  const ids = texts.map((_, id) => id);
  const isSpecial = (id: number) => types[id] === TOKEN.control || types[id] === TOKEN.userDefined;
  const kept = ids.filter((id) => !isSpecial(id) && types[id] !== TOKEN.unused);
  const vocab = new Map(kept.map((id) => [texts[id], id]));
  if (vocab.size !== kept.length) throw m.bad("tokenizer.ggml.tokens", "has a token twice");
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = ids.filter(isSpecial).filter((id) => texts[id] !== "");
  const split = (pattern: string) => ({
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  });
  const addSpace = m.flag("tokenizer.ggml.add_space_prefix", false);
  const byGpt2 = pre.splits.length === 0 || pre.thenGpt2 === true;
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
    normalizer: pre.normalizer === undefined ? null : { type: pre.normalizer },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        ...pre.splits.map(split),
        { type: "ByteLevel", add_prefix_space: addSpace, trim_offsets: true, use_regex: byGpt2 },
      ],
    },
    post_processor: template(m, texts, pre.addBos === true),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges === true,
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
