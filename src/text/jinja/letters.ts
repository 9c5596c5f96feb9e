/** Classes of letters and title case, where JavaScript's Unicode tables give what Python's do; else refused. */
import { TemplateFault } from "./errors.ts";
import { codePoints, isSpace } from "./unicode.ts";

/** Letters whose title case is not their upper case: digraphs and Georgian; and those with several upper letters. */
const OWN_TITLE = /[\u01c4-\u01cc\u01f1-\u01f3\u10d0-\u10ff]/;

function titleCase(char: string): string {
  const upper = char.toUpperCase();
  if (OWN_TITLE.test(char) || codePoints(upper).length > 1) {
    throw new TemplateFault("a letter has a title case that is not known here");
  }
  return upper;
}

export function capitalize(text: string): string {
  const [first = "", ...rest] = codePoints(text);
  const after = rest.join("");
  // A capital sigma is lowered by what stands around it.
  if (/\u03a3/.test(after)) throw new TemplateFault("a text with Σ is capitalized");
  return (first === "" ? "" : titleCase(first)) + after.toLowerCase();
}

/** `str.title`: a letter behind a letter is lower case. */
export function title(text: string): string {
  if (/\u03a3/.test(text)) throw new TemplateFault("a text with Σ is capitalized");
  let inWord = false;
  return codePoints(text)
    .map((char) => {
      const changed = inWord ? char.toLowerCase() : titleCase(char);
      inWord = CASED.test(char);
      return changed;
    })
    .join("");
}

const CASED = /[\p{Lowercase}\p{Uppercase}\p{Lt}]/u;

export function classOf(method: string, text: string): boolean {
  const chars = codePoints(text);
  if (method === "isascii") return chars.every((char) => char < "\x80");
  if (method === "islower" || method === "isupper") return hasCase(method === "islower", chars);
  const test = CLASSES[method];
  return chars.length > 0 && chars.every(test);
}

function hasCase(lower: boolean, chars: readonly string[]): boolean {
  const other = lower ? /[\p{Uppercase}\p{Lt}]/u : /[\p{Lowercase}\p{Lt}]/u;
  const own = lower ? /\p{Lowercase}/u : /\p{Uppercase}/u;
  return !chars.some((char) => other.test(char)) && chars.some((char) => own.test(char));
}

const CLASSES: Record<string, (char: string) => boolean> = {
  isspace: isSpace,
  isalpha: (char) => /\p{L}/u.test(char),
  isdecimal: (char) => /\p{Nd}/u.test(char),
  isdigit: (char) => /\p{Nd}/u.test(char) || otherNumber(char),
  isnumeric: (char) => /\p{Nd}/u.test(char) || otherNumber(char),
  isalnum: (char) => /[\p{L}\p{Nd}]/u.test(char) || otherNumber(char),
};

/** What is no decimal digit and may still count as a number, by a table that JavaScript does not have. */
function otherNumber(char: string): boolean {
  if (/[\p{No}\p{Nl}\p{Script=Han}]/u.test(char)) {
    throw new TemplateFault("a character may be a number by a table that is not known here");
  }
  return false;
}
