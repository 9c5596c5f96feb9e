/** Filters that give a text or a number. */
import { bind, intArgument, positionals, textArgument } from "./arguments.ts";
import { checkLength, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import type { Filters } from "./filter.ts";
import { formatPercent } from "./format-percent.ts";
import { capitalize } from "./letters.ts";
import { divideToEven, parseFloatText, roundFloat } from "./numbers.ts";
import { numberOf, toFloat } from "./operators.ts";
import { align, replaceText } from "./string-methods.ts";
import { textOf, toJson } from "./text.ts";
import { codePoints, splitLines, strip, textLength, WHITE_SPACE } from "./unicode.ts";
import {
  type CallArguments,
  Dict,
  isTrue,
  Markup,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

/** `str(value)`, but not of a text marked as safe, which would keep its mark. */
function soft(value: JinjaValue): string {
  refuseMarkup(value);
  return textOf(value);
}

function refuseMarkup(value: JinjaValue): void {
  if (value instanceof Markup) throw new TemplateFault("a text marked as safe is only printed here");
}

const TITLE_WORDS = new RegExp(`([-${WHITE_SPACE}({[<]+)`, "u");
const HTML: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };

const escapeHtml = (value: JinjaValue): Markup =>
  value instanceof Markup ? value : new Markup(textOf(value).replace(/[&<>'"]/g, (char) => HTML[char]));

export const TEXT_FILTERS: Filters = {
  upper: (value, args) => plain("upper", args, soft(value).toUpperCase()),
  lower: (value, args) => plain("lower", args, soft(value).toLowerCase()),
  capitalize: (value, args) => plain("capitalize", args, capitalize(soft(value))),
  title: (value, args) => plain("title", args, titleWords(soft(value))),
  string: (value, args) => (value instanceof Markup ? value : plain("string", args, textOf(value))),
  wordcount: (value, args) => {
    positionals("wordcount", args, 0, 0);
    return BigInt(soft(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0);
  },
  escape: (value, args) => plain("escape", args, escapeHtml(value)),
  forceescape: (value, args) =>
    plain("forceescape", args, escapeHtml(value instanceof Markup ? value.text : value)),
  safe: (value, args) => plain("safe", args, new Markup(textOf(value))),
  trim: (value, args) => {
    const [chars = null] = bind("trim", args, ["chars"]);
    return strip(soft(value), chars === null ? undefined : textArgument("trim", chars), true, true);
  },
  center: (value, args) => {
    const [width = 80n] = bind("center", args, ["width"]);
    return align(soft(value), intArgument("center", width), "center", " ");
  },
  replace: (value, args) => {
    const [old, replacement, count = null] = bind("replace", args, ["old", "new", "count"], 2);
    const most = count === null ? -1 : intArgument("replace", count);
    return replaceText(textOf(value), textOf(old!), textOf(replacement!), most);
  },
  indent: (value, args) => {
    const [width = 4n, first = false, blank = false] = bind("indent", args, ["width", "first", "blank"]);
    return indent(textArgument("indent", value), width, isTrue(first), isTrue(blank));
  },
  truncate,
  format: (value, { positional, named }) => {
    if (positional.length > 0 && named.size > 0)
      throw new TemplateFault("format mixes named values with others");
    return formatPercent(soft(value), named.size > 0 ? new Dict(named) : new Tuple(positional));
  },
  tojson: (value, args) => {
    const [ascii = false, indentation = null, separators = null, sortKeys = false] = bind("tojson", args, [
      "ensure_ascii",
      "indent",
      "separators",
      "sort_keys",
    ]);
    return toJson(value, {
      ascii: isTrue(ascii),
      indent: jsonIndent(indentation),
      separators: jsonSeparators(separators, indentation !== null),
      sortKeys: isTrue(sortKeys),
    });
  },
  int: toInt,
  float: (value, args) => {
    const [fallback = 0] = bind("float", args, ["default"]);
    return floatOf(value) ?? fallback;
  },
  round,
  abs: (value, args) => {
    positionals("abs", args, 0, 0);
    if (value instanceof Undefined) throw value.fail();
    const number = numberOf(value);
    if (number === undefined) throw new TemplateFault(`a ${typeName(value)} has no absolute value`);
    return typeof number === "bigint" ? (number < 0n ? -number : number) : Math.abs(number);
  },
};

function plain<T extends JinjaValue>(name: string, args: CallArguments, result: T): T {
  positionals(name, args, 0, 0);
  return result;
}

function titleWords(text: string): string {
  return text
    .split(TITLE_WORDS)
    .filter((word) => word !== "")
    .map((word) => {
      const [first, ...rest] = codePoints(word);
      return first.toUpperCase() + rest.join("").toLowerCase();
    })
    .join("");
}

function indent(text: string, width: JinjaValue, first: boolean, blank: boolean): string {
  const count = typeof width === "string" ? 0 : intArgument("indent", width);
  checkLength(count);
  const indention = typeof width === "string" ? width : " ".repeat(Math.max(0, count));
  const lines = splitLines(`${text}\n`);
  const length = text.length + lines.length * indention.length;
  spendOnText(length);
  const body = blank
    ? lines.join(`\n${indention}`)
    : lines.map((line, i) => (i > 0 && line !== "" ? indention + line : line)).join("\n");
  return first ? indention + body : body;
}

function truncate(value: JinjaValue, args: CallArguments): JinjaValue {
  const names = ["length", "killwords", "end", "leeway"];
  const [most = 255n, killwords = false, ending = "...", leeway = null] = bind("truncate", args, names);
  const length = intArgument("truncate", most);
  const end = textArgument("truncate", ending);
  const spare = leeway === null ? 5 : intArgument("truncate", leeway);
  if (length < textLength(end) || spare < 0)
    throw new TemplateFault("truncate has a length that is too small");
  const points = codePoints(textArgument("truncate", value));
  if (points.length <= length + spare) return value;
  const cut = points.slice(0, length - textLength(end)).join("");
  const space = cut.lastIndexOf(" ");
  return (isTrue(killwords) || space < 0 ? cut : cut.slice(0, space)) + end;
}

function jsonIndent(value: JinjaValue): string | undefined {
  if (value === null) return undefined;
  if (typeof value === "string") return value;
  const count = intArgument("tojson", value);
  checkLength(count);
  return " ".repeat(Math.max(0, count));
}

function jsonSeparators(value: JinjaValue, indented: boolean): readonly [string, string] {
  if (value === null) return [indented ? "," : ", ", ": "];
  const [item, key, ...rest] =
    value instanceof Tuple ? value.items : Array.isArray(value) ? (value as JinjaValue[]) : [];
  if (rest.length > 0) throw new TemplateFault("tojson wants two separators");
  return [textArgument("tojson", item), textArgument("tojson", key)];
}

/** `int(value)` by Python's rules; undefined: ValueError or TypeError. */
function intOf(value: JinjaValue): bigint | undefined {
  refuseMarkup(value);
  if (value instanceof Undefined) throw value.fail();
  if (typeof value === "string") {
    const text = numeral(value);
    return /^[+-]?\d+(_\d+)*$/.test(text) ? BigInt(text.replaceAll("_", "").replace(/^\+/, "")) : undefined;
  }
  if (typeof value === "number") {
    if (Number.isNaN(value)) return undefined;
    if (!Number.isFinite(value)) throw new TemplateFault("int is given infinity");
    return BigInt(Math.trunc(value));
  }
  return numberOf(value) as bigint | undefined;
}

function floatOf(value: JinjaValue): number | undefined {
  refuseMarkup(value);
  if (value instanceof Undefined) throw value.fail();
  if (typeof value === "string") return parseFloatText(numeral(value));
  const number = numberOf(value);
  return number === undefined ? undefined : toFloat(number);
}

function numeral(text: string): string {
  if (text.length > 4_000) throw new TemplateFault("a number is too long");
  if (/[^\0-\x7f]/.test(text) && /\p{Nd}/u.test(text.replace(/[\0-\x7f]/g, ""))) {
    throw new TemplateFault("digits other than 0 to 9 are not supported");
  }
  return strip(text, undefined, true, true);
}

function toInt(value: JinjaValue, args: CallArguments): JinjaValue {
  const [fallback = 0n, base = 10n] = bind("int", args, ["default", "base"]);
  if (base !== 10n && typeof value === "string") throw new TemplateFault("int with a base is not supported");
  const whole = intOf(value);
  if (whole !== undefined) return whole;
  const float = floatOf(value);
  return float === undefined || !Number.isFinite(float) ? fallback : BigInt(Math.trunc(float));
}

function round(value: JinjaValue, args: CallArguments): JinjaValue {
  const [precision = 0n, method = "common"] = bind("round", args, ["precision", "method"]);
  if (value instanceof Undefined) throw value.fail();
  const digits = intArgument("round", precision);
  const number = numberOf(value);
  if (number === undefined) throw new TemplateFault(`a ${typeName(value)} is rounded`);
  if (Math.abs(digits) > 1_000) throw new TemplateFault("round has a precision that is too large");
  if (method === "common") {
    if (typeof number === "number") return roundFloat(number, digits);
    if (digits >= 0) return number;
    const unit = 10n ** BigInt(-digits);
    const rounded = divideToEven(number < 0n ? -number : number, unit) * unit;
    return number < 0n ? -rounded : rounded;
  }
  if (method !== "ceil" && method !== "floor") throw new TemplateFault("round has an unknown method");
  if (digits < 0 || digits > 15) throw new TemplateFault("round has an unsupported precision");
  const scale = 10 ** digits;
  const scaled = toFloat(number) * scale;
  if (!Number.isFinite(scaled)) throw new TemplateFault("round is given infinity");
  // Python's ceil and floor give ints, which have no negative zero.
  return (method === "ceil" ? Math.ceil(scaled) + 0 : Math.floor(scaled) + 0) / scale;
}
