/** `str.split` and `str.rsplit`. */
import { spend } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { strip, WHITE_SPACE } from "./unicode.ts";

const RUN = new RegExp(`[${WHITE_SPACE}]+`, "gu");

/** @param separator undefined: runs of white space @param most splits; negative: all */
export function splitText(
  text: string,
  separator: string | undefined,
  most: number,
  fromRight: boolean,
): string[] {
  if (separator === "") throw new TemplateFault("a text is split at nothing");
  const limit = most < 0 ? Number.POSITIVE_INFINITY : most;
  if (separator === undefined) return splitWords(text, limit, fromRight);
  const parts = fromRight ? splitFromRight(text, separator, limit) : text.split(separator);
  spend(parts.length);
  if (parts.length - 1 <= limit) return parts;
  return [...parts.slice(0, limit), parts.slice(limit).join(separator)];
}

function splitFromRight(text: string, separator: string, limit: number): string[] {
  const parts: string[] = [];
  let end = text.length;
  while (parts.length < limit && end >= separator.length) {
    const at = text.lastIndexOf(separator, end - separator.length);
    if (at < 0) break;
    parts.push(text.slice(at + separator.length, end));
    end = at;
  }
  return [...parts, text.slice(0, end)].reverse();
}

function splitWords(text: string, limit: number, fromRight: boolean): string[] {
  const words = strip(text, undefined, true, true).split(RUN);
  spend(words.length);
  if (words.length === 1 && words[0] === "") return [];
  if (words.length - 1 <= limit) return words;
  // What is not split keeps its white space, but at the end where the splitting began.
  const stripped = strip(text, undefined, !fromRight, fromRight);
  const gaps = [...stripped.matchAll(RUN)];
  if (fromRight) {
    if (limit === 0) return [stripped];
    const gap = gaps[gaps.length - limit];
    return [stripped.slice(0, gap.index), ...words.slice(words.length - limit)];
  }
  if (limit === 0) return [stripped];
  const gap = gaps[limit - 1];
  return [...words.slice(0, limit), stripped.slice(gap.index + gap[0].length)];
}
