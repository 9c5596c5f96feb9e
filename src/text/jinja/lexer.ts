/**
 * A template's text as tokens, by jinja2's rules with trim_blocks and lstrip_blocks, as transformers sets them: the
 * newline after a block tag goes, and the white space before one at the beginning of a line.
 */
import { TemplateFault } from "./errors.ts";
import { WHITE_SPACE } from "./unicode.ts";

export type Token =
  | { readonly type: "data" | "name" | "string" | "operator"; readonly text: string }
  | { readonly type: "integer"; readonly value: bigint }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "variable_begin" | "variable_end" | "block_begin" | "block_end" | "end" };

const SPACES = `[${WHITE_SPACE}]*`;
/** The next tag, with the sign that says what becomes of the white space before it. */
const TAG = new RegExp(`\\{%([-+]?)${SPACES}raw${SPACES}(-%\\}${SPACES}|%\\})|\\{([%{#])([-+]?)`, "gu");
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}${SPACES}|#\\}\\n?`, "gu");
const RAW_END = new RegExp(`\\{%([-+]?)${SPACES}endraw${SPACES}(?:\\+%\\}|-%\\}${SPACES}|%\\}\\n?)`, "gu");
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}${SPACES}|%\\}\\n?`, "uy");
const VARIABLE_END = new RegExp(`-\\}\\}${SPACES}|\\}\\}`, "uy");
const SPACE = new RegExp(`[${WHITE_SPACE}]+`, "uy");
const FLOAT = /(?<!\.)(\d+_)*\d+((\.(\d+_)*\d+)?e[+-]?(\d+_)*\d+|\.(\d+_)*\d+)/iy;
const INTEGER = /0b(_?[01])+|0o(_?[0-7])+|0x(_?[\da-f])+|[1-9](_?\d)*|0(_?0)*/iy;
const NAME = /[a-z_][a-z0-9_]*/iy;
const STRING = /'[^'\\]*(?:\\[\s\S][^'\\]*)*'|"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y;
const OPERATOR = /\*\*|\/\/|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y;
const CLOSING: Record<string, string> = { "{": "}", "(": ")", "[": "]" };

/** @throws TemplateFault */
export function tokenize(template: string): Token[] {
  const lines = template.split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  const source = lines.join("\n");
  const tokens: Token[] = [];
  let at = 0;
  // Whether what was read last ended a line: only there is the white space before a tag dropped.
  let lineStarts = true;
  const data = (text: string): void => {
    if (text !== "") tokens.push({ type: "data", text });
  };

  while (at < source.length) {
    const tag = matchFrom(TAG, source, at);
    if (tag === undefined) {
      data(source.slice(at));
      break;
    }
    const text = source.slice(at, tag.index);
    const [whole, rawSign, rawEnd, opening, sign] = tag;
    data(beforeTag(text, rawSign ?? sign, opening === "{", lineStarts));
    at = tag.index + whole.length;
    lineStarts = whole.endsWith("\n");
    if (opening === "#" || rawEnd !== undefined) {
      const raw = rawEnd !== undefined;
      const end = matchFrom(raw ? RAW_END : COMMENT_END, source, at);
      if (end === undefined) throw new TemplateFault(`a ${raw ? "raw block" : "comment"} does not end`);
      if (raw) data(beforeTag(source.slice(at, end.index), end[1], false, lineStarts));
      at = end.index + end[0].length;
      lineStarts = end[0].endsWith("\n");
    } else {
      const variable = opening === "{";
      tokens.push({ type: variable ? "variable_begin" : "block_begin" });
      at = readTag(source, at, variable, tokens);
      lineStarts = source[at - 1] === "\n";
    }
  }
  tokens.push({ type: "end" });
  return tokens;
}

/** The text before a tag, without the white space that the tag takes away. */
function beforeTag(text: string, sign: string, variable: boolean, lineStarts: boolean): string {
  if (sign === "-") return trimEnd(text);
  if (sign === "+" || variable) return text;
  const line = text.lastIndexOf("\n") + 1;
  if (line === 0 && !lineStarts) return text;
  return trimEnd(text.slice(line)) === "" ? text.slice(0, line) : text;
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && IS_SPACE.test(text[end - 1])) end -= 1;
  return text.slice(0, end);
}
const IS_SPACE = new RegExp(`[${WHITE_SPACE}]`, "u");

/** Reads a tag's inside and end; returns where what follows begins. */
function readTag(source: string, from: number, variable: boolean, tokens: Token[]): number {
  const open: string[] = [];
  let at = from;
  for (;;) {
    if (at >= source.length) return at;
    const end = open.length > 0 ? undefined : matchAt(variable ? VARIABLE_END : BLOCK_END, source, at);
    if (end !== undefined) {
      tokens.push({ type: variable ? "variable_end" : "block_end" });
      return at + end.length;
    }
    const found = matchAt(SPACE, source, at);
    at += found === undefined ? readToken(source, at, tokens, open) : found.length;
  }
}

/** @returns its length */
function readToken(source: string, at: number, tokens: Token[], open: string[]): number {
  let text = matchAt(FLOAT, source, at);
  if (text !== undefined) {
    tokens.push({ type: "float", value: Number(text.replaceAll("_", "")) });
    return text.length;
  }
  text = matchAt(INTEGER, source, at);
  if (text !== undefined) {
    if (text.length > 4_000) throw new TemplateFault("a number is too long");
    tokens.push({ type: "integer", value: BigInt(text.replaceAll("_", "")) });
    return text.length;
  }
  text = matchAt(NAME, source, at);
  if (text !== undefined) {
    tokens.push({ type: "name", text });
    return text.length;
  }
  text = matchAt(STRING, source, at);
  if (text !== undefined) {
    tokens.push({ type: "string", text: readEscapes(text.slice(1, -1)) });
    return text.length;
  }
  text = matchAt(OPERATOR, source, at);
  if (text === undefined) {
    const code = source.codePointAt(at)!.toString(16).toUpperCase().padStart(4, "0");
    throw new TemplateFault(`a tag has the character U+${code}, which has no meaning there`);
  }
  const closing = CLOSING[text];
  if (closing !== undefined) open.push(closing);
  else if (/[\]})]/.test(text) && open.pop() !== text) throw new TemplateFault(`a ${text} closes nothing`);
  tokens.push({ type: "operator", text });
  return text.length;
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

function matchFrom(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}

const ESCAPES: Record<string, string> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Python's escapes; one that it does not know stays as it is. */
function readEscapes(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/gu,
    (whole, x?: string, u?: string, long?: string, octal?: string, char = "") => {
      const hex = x ?? u ?? long;
      if (hex !== undefined || octal !== undefined) {
        const code = hex === undefined ? Number.parseInt(octal!, 8) : Number.parseInt(hex, 16);
        // Two halves of a surrogate pair stay two characters in Python.
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
          throw new TemplateFault("a text has an escape of no character");
        }
        return String.fromCodePoint(code);
      }
      if (/[xuUN]/.test(char) || char > "\x7f") {
        throw new TemplateFault("a text has an escape that is not read here");
      }
      return ESCAPES[char] ?? whole;
    },
  );
}
