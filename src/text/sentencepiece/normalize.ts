/** Text as sentencepiece's models see it: characters replaced, white space reduced and marked. */

import { utf8 } from "../../base/bytes.ts";
import { CharsMap } from "./chars-map.ts";
import type { SentencePieceModel } from "./model-file.ts";
import type { PrefixIndex } from "./prefix-index.ts";

/** U+2581, which stands for a space. */
export const SPACE_MARK = "\u2581";

export interface NormalizeOptions {
  /** Put a space before the text, where the model does so (default true). */
  readonly dummyPrefix?: boolean;
}

/**
 * @param userDefined pieces that stay as they are
 * @throws TacetError bad_tokenizer if the model's character map is damaged
 */
export function createNormalizer(
  model: SentencePieceModel,
  userDefined: PrefixIndex,
  path: string,
): (text: string, options?: NormalizeOptions) => string {
  const { addDummyPrefix, removeExtraWhitespaces, escapeWhitespaces } = model;
  const map = model.charsMap.length === 0 ? undefined : new CharsMap(model.charsMap, path);
  const space = escapeWhitespaces ? SPACE_MARK : " ";

  /** The parts that the text falls into, each replaced by itself. */
  function* replaced(text: string): Generator<string> {
    const bytes = map === undefined ? undefined : utf8(text);
    let byteAt = 0;
    for (let at = 0; at < text.length; ) {
      const kept = userDefined.longest(text, at);
      const found = kept > 0 || bytes === undefined ? undefined : map?.longest(bytes, byteAt);
      if (found === undefined) {
        const part = text.slice(at, at + (kept || charLength(text, at)));
        at += part.length;
        byteAt += utf8Length(part);
        yield part;
      } else {
        const end = byteAt + found.taken;
        for (; byteAt < end; at += charLength(text, at))
          byteAt += utf8Length(text.slice(at, at + charLength(text, at)));
        yield found.text;
      }
    }
  }

  return (text, { dummyPrefix = true } = {}) => {
    if (text === "") return "";
    const parts: string[] = [];
    // Set while white space is dropped: at the start, and behind a space.
    let dropping = removeExtraWhitespaces;
    for (const part of replaced(text.replace(/\p{Surrogate}/gu, "\ufffd"))) {
      const rest = dropping ? part.replace(/^ +/, "") : part;
      if (rest === "") continue;
      parts.push(rest);
      dropping = removeExtraWhitespaces && rest.endsWith(" ");
    }
    let normalized = parts.join("").replaceAll(" ", space);
    if (addDummyPrefix && dummyPrefix) normalized = space + normalized;
    if (!removeExtraWhitespaces) return normalized;
    let end = normalized.length;
    while (end > 0 && normalized[end - 1] === space) end--;
    return normalized.slice(0, end);
  };
}

/** Code units of the character there: 2 for a surrogate pair. */
export function charLength(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}

function utf8Length(text: string): number {
  let length = 0;
  for (const char of text) {
    const point = char.codePointAt(0)!;
    length += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return length;
}
