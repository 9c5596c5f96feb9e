/** The methods of `str`. Positions count code points. */
import { bind, intArgument, positionals, textArgument } from "./arguments.ts";
import { checkLength, spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { padding } from "./format-number.ts";
import { capitalize, classOf, title } from "./letters.ts";
import { slice } from "./slices.ts";
import { splitText } from "./split.ts";
import { codePoints, splitLines, strip, textLength } from "./unicode.ts";
import { type CallArguments, iteratorOf, Tuple, type JinjaValue } from "./values.ts";

type Method = (text: string, args: CallArguments, what: string) => JinjaValue;

export const STRING_METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["upper", plain((text) => text.toUpperCase())],
  ["lower", plain((text) => text.toLowerCase())],
  ["capitalize", plain(capitalize)],
  ["title", plain(title)],
  ["strip", stripping(true, true)],
  ["lstrip", stripping(true, false)],
  ["rstrip", stripping(false, true)],
  ["split", splitting(false)],
  ["rsplit", splitting(true)],
  ["splitlines", (text, args, what) => splitLines(text, isSet(bind(what, args, ["keepends"])[0], what))],
  ["partition", (text, args, what) => partition(text, args, what, false)],
  ["rpartition", (text, args, what) => partition(text, args, what, true)],
  ["replace", replaceMethod],
  ["startswith", (text, args, what) => affix(text, args, what, (part, end) => part.startsWith(end))],
  ["endswith", (text, args, what) => affix(text, args, what, (part, end) => part.endsWith(end))],
  ["removeprefix", removing((text, part) => (text.startsWith(part) ? text.slice(part.length) : text))],
  [
    "removesuffix",
    removing((text, part) => (part !== "" && text.endsWith(part) ? text.slice(0, -part.length) : text)),
  ],
  ["find", (text, args, what) => BigInt(find(text, args, what, false))],
  ["rfind", (text, args, what) => BigInt(find(text, args, what, true))],
  ["index", (text, args, what) => BigInt(found(find(text, args, what, false)))],
  ["rindex", (text, args, what) => BigInt(found(find(text, args, what, true)))],
  ["count", countMethod],
  ["join", joinMethod],
  ["center", aligning("center")],
  ["ljust", aligning("left")],
  ["rjust", aligning("right")],
  ["zfill", zfill],
  ["expandtabs", expandTabs],
  ...[
    "isalpha",
    "isdigit",
    "isdecimal",
    "isnumeric",
    "isalnum",
    "isspace",
    "islower",
    "isupper",
    "isascii",
  ].map((name) => [name, plain((text) => classOf(name, text))] as const),
]);

function plain(change: (text: string) => JinjaValue): Method {
  return (text, args, what) => {
    positionals(what, args, 0, 0);
    return change(text);
  };
}

function stripping(left: boolean, right: boolean): Method {
  return (text, args, what) => {
    const [chars = null] = positionals(what, args, 0, 1);
    return strip(text, chars === null ? undefined : textArgument(what, chars), left, right);
  };
}

function splitting(fromRight: boolean): Method {
  return (text, args, what) => {
    const [separator = null, most = -1n] = bind(what, args, ["sep", "maxsplit"]);
    return splitText(
      text,
      separator === null ? undefined : textArgument(what, separator),
      intArgument(what, most),
      fromRight,
    );
  };
}

function isSet(value: JinjaValue | undefined, what: string): boolean {
  return value !== undefined && intArgument(what, value) !== 0;
}

function partition(text: string, args: CallArguments, what: string, fromRight: boolean): Tuple {
  const separator = textArgument(what, positionals(what, args, 1, 1)[0]);
  if (separator === "") throw new TemplateFault(`${what} wants a separator`);
  const at = fromRight ? text.lastIndexOf(separator) : text.indexOf(separator);
  if (at < 0) return new Tuple(fromRight ? ["", "", text] : [text, "", ""]);
  return new Tuple([text.slice(0, at), separator, text.slice(at + separator.length)]);
}

function replaceMethod(text: string, args: CallArguments, what: string): string {
  const [old, replacement, count = -1n] = positionals(what, args, 2, 3);
  return replaceText(
    text,
    textArgument(what, old),
    textArgument(what, replacement),
    intArgument(what, count),
  );
}

/** @param most replacements; negative: all */
export function replaceText(text: string, old: string, replacement: string, most: number): string {
  const limit = most < 0 ? Number.POSITIVE_INFINITY : most;
  if (old === "") {
    const points = codePoints(text);
    const times = Math.min(points.length + 1, limit);
    checkLength(text.length + times * replacement.length);
    const result = points.map((point, i) => (i < times ? replacement + point : point)).join("");
    return times > points.length ? result + replacement : result;
  }
  const parts = text.split(old);
  const times = Math.min(parts.length - 1, limit);
  const length = text.length + times * (replacement.length - old.length);
  checkLength(length);
  spendOnText(Math.max(length, 0));
  const changed = parts.slice(0, times + 1).join(replacement);
  return times < parts.length - 1 ? [changed, ...parts.slice(times + 1)].join(old) : changed;
}

/** The part of a text between optional bounds; undefined: it begins behind the end. */
function part(text: string, [from, to]: readonly (JinjaValue | undefined)[]): string | undefined {
  if (from === undefined && to === undefined) return text;
  if (typeof from === "bigint" && from > BigInt(textLength(text))) return undefined;
  return slice(text, [from, to]) as string;
}

function affix(
  text: string,
  args: CallArguments,
  what: string,
  matches: (part: string, affix: string) => boolean,
): boolean {
  const [affixes, ...bounds] = positionals(what, args, 1, 3);
  const inside = part(text, bounds);
  const each = affixes instanceof Tuple ? affixes.items : [affixes];
  return each.some((value) => {
    const affixText = textArgument(what, value);
    return inside !== undefined && matches(inside, affixText);
  });
}

function removing(remove: (text: string, part: string) => string): Method {
  return (text, args, what) => remove(text, textArgument(what, positionals(what, args, 1, 1)[0]));
}

function find(text: string, args: CallArguments, what: string, last: boolean): number {
  const [wanted, ...bounds] = positionals(what, args, 1, 3);
  const searched = textArgument(what, wanted);
  const inside = part(text, bounds);
  if (inside === undefined) return -1;
  const at = last ? inside.lastIndexOf(searched) : inside.indexOf(searched);
  if (at < 0) return -1;
  const length = textLength(text);
  const [from = null] = bounds;
  const start = from === null ? 0 : intArgument(what, from);
  const offset = start < 0 ? Math.max(0, start + length) : start;
  return offset + textLength(inside.slice(0, at));
}

function found(at: number): number {
  if (at < 0) throw new TemplateFault("a text does not hold the one that is looked for");
  return at;
}

function countMethod(text: string, args: CallArguments, what: string): bigint {
  const [wanted, ...bounds] = positionals(what, args, 1, 3);
  const searched = textArgument(what, wanted);
  const inside = part(text, bounds);
  if (inside === undefined) return 0n;
  if (searched === "") return BigInt(textLength(inside) + 1);
  const count = inside.split(searched).length - 1;
  spend(count);
  return BigInt(count);
}

function joinMethod(text: string, args: CallArguments, what: string): string {
  const iterator = iteratorOf(positionals(what, args, 1, 1)[0]!);
  const parts: string[] = [];
  let length = 0;
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    const value = textArgument(what, next.value);
    length += value.length + text.length;
    spendOnText(length - value.length < 0 ? 0 : value.length + text.length);
    checkLength(length);
    parts.push(value);
  }
  return parts.join(text);
}

function aligning(side: "left" | "right" | "center"): Method {
  return (text, args, what) => {
    const [width, fill = " "] = positionals(what, args, 1, 2);
    const char = textArgument(what, fill);
    if (textLength(char) !== 1) throw new TemplateFault(`${what} fills with one character`);
    return align(text, intArgument(what, width), side, char);
  };
}

export function align(text: string, width: number, side: "left" | "right" | "center", fill: string): string {
  const pad = padding(text, width, fill);
  if (side === "left") return text + pad;
  if (side === "right") return pad + text;
  // CPython puts the odd one to the left only where the width is odd.
  const count = pad.length / fill.length;
  const left = (Math.floor(count / 2) + (count & width & 1)) * fill.length;
  return pad.slice(0, left) + text + pad.slice(left);
}

function zfill(text: string, args: CallArguments, what: string): string {
  const pad = padding(text, intArgument(what, positionals(what, args, 1, 1)[0]), "0");
  return /^[+-]/.test(text) ? text[0] + pad + text.slice(1) : pad + text;
}

function expandTabs(text: string, args: CallArguments, what: string): string {
  const [size = 8n] = bind(what, args, ["tabsize"]);
  const width = intArgument(what, size);
  let column = 0;
  let length = 0;
  return codePoints(text)
    .map((char) => {
      if (char !== "\t") {
        column = char === "\n" || char === "\r" ? 0 : column + 1;
        return char;
      }
      const spaces = width <= 0 ? 0 : width - (column % width);
      column += spaces;
      checkLength((length += spaces));
      return " ".repeat(spaces);
    })
    .join("");
}
