/** Numbers and texts in a field: what `%` and `str.format` have in common. */
import { checkLength } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { exponentialText, fixedText, generalText } from "./numbers.ts";
import { codePoints, textLength } from "./unicode.ts";

/** Digits after the point of a float, at most: C's library and ours agree there, and nobody needs more. */
const MAX_PRECISION = 100;

/** |x| in the form of e, E, f, F, g or G. */
export function floatDigits(x: number, type: string, precision: number, alternate: boolean): string {
  if (!Number.isFinite(x)) {
    const word = Number.isNaN(x) ? "nan" : "inf";
    return /[EFG]/.test(type) ? word.toUpperCase() : word;
  }
  if (precision > MAX_PRECISION || alternate)
    throw new TemplateFault("a float is formatted in an unsupported way");
  switch (type) {
    case "e":
      return exponentialText(x, precision);
    case "E":
      return exponentialText(x, precision).toUpperCase();
    case "g":
      return generalText(x, precision);
    case "G":
      return generalText(x, precision).toUpperCase();
    default:
      return fixedText(x, precision);
  }
}

export function isNegative(x: number): boolean {
  return x < 0 || Object.is(x, -0);
}

/** |x| in the base of b, d, o, x or X, with the prefix of `#`. */
export function intDigits(x: bigint, type: string, alternate: boolean): string {
  const base = { b: 2, o: 8, x: 16, X: 16 }[type] ?? 10;
  const digits = (x < 0n ? -x : x).toString(base);
  const text = (alternate && base !== 10 ? `0${type.toLowerCase()}` : "") + digits;
  return type === "X" ? text.toUpperCase() : text;
}

/** @param width in code points */
export function padding(text: string, width: number, fill: string): string {
  checkLength(width);
  return fill.repeat(Math.max(0, width - textLength(text)));
}

export function cut(text: string, length: number): string {
  return codePoints(text).slice(0, length).join("");
}
