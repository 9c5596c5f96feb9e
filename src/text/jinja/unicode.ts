/** Python's view of text: code points, its white space, its classes of letters. */
import { spend } from "./budget.ts";

/** What `str.isspace`, `strip`, `split` and `\s` take for white space: more than JavaScript's, without U+FEFF. */
export const WHITE_SPACE =
  "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const SURROGATE = /[\ud800-\udfff]/;

/** Whether code points and UTF-16 units are the same. */
export function isPlain(text: string): boolean {
  return !SURROGATE.test(text);
}

/** In code points. */
export function textLength(text: string): number {
  return isPlain(text) ? text.length : codePoints(text).length;
}

export function codePoints(text: string): string[] {
  spend(text.length);
  return isPlain(text) ? text.split("") : [...text];
}

/** The order of code points, which UTF-16 units do not have beyond U+FFFF. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  if (isPlain(a) && isPlain(b)) return a < b ? -1 : 1;
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = left[i].codePointAt(0)! - right[i].codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: Python ends lines at them
const LINE = /\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/g;

/** `str.splitlines`. */
export function splitLines(text: string, keepEnds = false): string[] {
  const lines: string[] = [];
  let from = 0;
  for (const end of text.matchAll(LINE)) {
    lines.push(text.slice(from, keepEnds ? end.index + end[0].length : end.index));
    from = end.index + end[0].length;
  }
  if (from < text.length) lines.push(text.slice(from));
  return lines;
}

/** `str.strip`, at one end or both. @param chars characters to take away; undefined: white space */
export function strip(text: string, chars: string | undefined, left: boolean, right: boolean): string {
  if (chars !== undefined && !isPlain(chars))
    return stripPoints(text, new Set(codePoints(chars)), left, right);
  const set = new Set(chars);
  const taken = chars === undefined ? isSpace : (char: string): boolean => set.has(char);
  let from = 0;
  let to = text.length;
  while (left && from < to && taken(text[from])) from += 1;
  while (right && to > from && taken(text[to - 1])) to -= 1;
  return text.slice(from, to);
}

function stripPoints(text: string, chars: ReadonlySet<string>, left: boolean, right: boolean): string {
  const points = codePoints(text);
  let from = 0;
  let to = points.length;
  while (left && from < to && chars.has(points[from])) from += 1;
  while (right && to > from && chars.has(points[to - 1])) to -= 1;
  return points.slice(from, to).join("");
}

const SPACE_CHAR = new RegExp(`^[${WHITE_SPACE}]$`, "u");

export function isSpace(char: string): boolean {
  return SPACE_CHAR.test(char);
}
