/** How values are printed: `str`, `repr` and JSON. */
import { spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { floatText } from "./numbers.ts";
import {
  Dict,
  DictView,
  isList,
  isTrue,
  itemsOf,
  Markup,
  Range,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

/** `str(value)`: what `{{ value }}` prints. */
export function textOf(value: JinjaValue): string {
  if (typeof value === "string") return value;
  if (value instanceof Undefined) return "";
  if (value instanceof Markup) return value.text;
  return representation(value);
}

/** `repr(value)`. */
export function representation(value: JinjaValue): string {
  spend(1);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return floatText(value);
  if (typeof value === "string") return quoted(value);
  if (value instanceof Undefined) return "Undefined";
  if (isList(value)) return `[${listed(value)}]`;
  if (value instanceof Tuple) return `(${listed(value.items)}${value.items.length === 1 ? "," : ""})`;
  if (value instanceof Dict) {
    return `{${joined([...value.entries()].map(([key, item]) => `${representation(key)}: ${representation(item)}`))}}`;
  }
  if (value instanceof DictView) {
    const items = [...value.dict.entries()].map(([key, item]) =>
      representation(value.part === "keys" ? key : value.part === "values" ? item : new Tuple([key, item])),
    );
    return `dict_${value.part}([${joined(items)}])`;
  }
  if (value instanceof Range) {
    return `range(${value.start}, ${value.stop}${value.step === 1 ? "" : `, ${value.step}`})`;
  }
  throw new TemplateFault(`a ${typeName(value)} is printed`);
}

function listed(items: readonly JinjaValue[]): string {
  return joined(items.map(representation));
}

function joined(parts: readonly string[]): string {
  const text = parts.join(", ");
  spendOnText(text.length);
  return text;
}

/** Python escapes what Unicode calls other, and white space but the plain one. */
const UNPRINTABLE = /[\p{C}\p{Z}]/u;

function quoted(text: string): string {
  spendOnText(text.length);
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let body = "";
  for (const char of text) {
    const code = char.codePointAt(0)!;
    if (char === quote || char === "\\") body += `\\${char}`;
    else if (char === "\n") body += "\\n";
    else if (char === "\r") body += "\\r";
    else if (char === "\t") body += "\\t";
    else if (char === " " || !UNPRINTABLE.test(char)) body += char;
    else if (code < 0x100) body += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (code < 0x10000) body += `\\u${code.toString(16).padStart(4, "0")}`;
    else body += `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return `${quote}${body}${quote}`;
}

export interface JsonForm {
  /** Escape what is not ASCII. */
  readonly ascii: boolean;
  /** What a level is indented by; undefined: one line. */
  readonly indent: string | undefined;
  readonly separators: readonly [item: string, key: string];
  readonly sortKeys: boolean;
}

/** Python's `json.dumps`. */
export function toJson(value: JinjaValue, form: JsonForm, line = "\n"): string {
  spend(1);
  if (value === null) return "null";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return jsonFloat(value);
  if (typeof value === "string") return jsonText(value, form.ascii);
  const inside = form.indent === undefined ? "" : line + form.indent;
  const [comma] = form.separators;
  const around = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close;
    const text = parts.join(comma + inside);
    spendOnText(text.length);
    return open + inside + text + (form.indent === undefined ? "" : line) + close;
  };
  const next = line + (form.indent ?? "");
  const items = itemsOf(value);
  if (items !== undefined) {
    return around(
      "[",
      items.map((item) => toJson(item, form, next)),
      "]",
    );
  }
  if (!(value instanceof Dict)) throw new TemplateFault(`a ${typeName(value)} is written as JSON`);
  const entries = [...value.entries()];
  if (form.sortKeys) sortByKey(entries);
  const parts = entries.map(
    ([key, item]) => jsonText(jsonKey(key), form.ascii) + form.separators[1] + toJson(item, form, next),
  );
  return around("{", parts, "}");
}

function sortByKey(entries: [JinjaValue, JinjaValue][]): void {
  if (!entries.every(([key]) => typeof key === "string" && /^[\0-\x7f]*$/.test(key))) {
    throw new TemplateFault("JSON with keys other than plain text is sorted");
  }
  entries.sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1));
}

function jsonKey(key: JinjaValue): string {
  if (typeof key === "string") return key;
  if (typeof key === "number") return jsonFloat(key);
  if (typeof key === "bigint") return String(key);
  if (key === null) return "null";
  if (typeof key === "boolean") return isTrue(key) ? "true" : "false";
  throw new TemplateFault(`JSON has a ${typeName(key)} as a key`);
}

function jsonFloat(x: number): string {
  if (Number.isFinite(x)) return floatText(x);
  return Number.isNaN(x) ? "NaN" : x > 0 ? "Infinity" : "-Infinity";
}

const JSON_ESCAPES: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};

function jsonText(text: string, ascii: boolean): string {
  spendOnText(text.length);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
  const escaped = text.replace(ascii ? /["\\\x00-\x1f]|[^\x00-\x7e]/g : /["\\\x00-\x1f]/g, (char) => {
    return JSON_ESCAPES[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return `"${escaped}"`;
}
