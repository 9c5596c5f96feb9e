/**
 * tokenizer.model of a sentencepiece vocabulary (`tokenizer.ggml.model` "llama"): the protobuf message ModelProto of
 * sentencepiece_model.proto, of whose fields these are written:
 *
 *   1 pieces: { 1 text, 2 score float, 3 type }      2 trainer_spec: { 3 model_type, 35 byte_fallback, 41 bos_id, 42 eos_id }
 *   3 normalizer_spec: { 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces }
 */

import { concatBytes, utf8 } from "../../base/bytes.ts";
import type { Metadata } from "./metadata.ts";
import { specialId, TOKEN, vocabularyOf } from "./special-ids.ts";

const BPE = 2;

/** @throws TacetError bad_checkpoint for lists that do not fit each other */
export function sentencePieceFile(m: Metadata): Uint8Array {
  const { texts, types } = vocabularyOf(m)!;
  const scores = m.list("tokenizer.ggml.scores", "number", texts.length);
  const unknown = specialId(m, "unknown") ?? Math.max(0, types.indexOf(TOKEN.unknown));
  const pieces = texts.map((text, id): Uint8Array => {
    const type = id === unknown ? TOKEN.unknown : types[id] === TOKEN.unknown ? TOKEN.control : types[id];
    // The converter writes spaces of words that were added as they are.
    const written = type === TOKEN.userDefined ? text.replaceAll(" ", "\u2581") : text;
    return message(
      1,
      concatBytes(message(1, utf8(written)), float(2, scores[id]), integer(3, type || TOKEN.normal)),
    );
  });
  const trainer = [
    integer(3, BPE),
    integer(35, types.includes(TOKEN.byte) ? 1 : 0),
    integer(41, specialId(m, "bos") ?? -1),
    integer(42, specialId(m, "eos") ?? -1),
  ];
  const normalizer = [
    integer(3, m.flag("tokenizer.ggml.add_space_prefix", true) ? 1 : 0),
    integer(4, m.flag("tokenizer.ggml.remove_extra_whitespaces", false) ? 1 : 0),
    integer(5, 1),
  ];
  return joined([...pieces, message(2, concatBytes(...trainer)), message(3, concatBytes(...normalizer))]);
}

/** More than fit into the arguments of a call. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A number of seven bits a byte, the lowest first; a negative one has the 64 bits of its two's complement. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

const tag = (field: number, wire: number): Uint8Array => varint(field * 8 + wire);

function integer(field: number, value: number): Uint8Array {
  return concatBytes(tag(field, 0), varint(value));
}

function message(field: number, bytes: Uint8Array): Uint8Array {
  return concatBytes(tag(field, 2), varint(bytes.length), bytes);
}

function float(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return concatBytes(tag(field, 5), bytes);
}
