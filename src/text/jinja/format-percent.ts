/** `text % values`, Python's printf. */
import { checkLength, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { cut, floatDigits, intDigits, isNegative, padding } from "./format-number.ts";
import { representation, textOf } from "./text.ts";
import { Dict, isList, Range, Tuple, typeName, Undefined, type JinjaValue } from "./values.ts";

const CONVERSION = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?([\s\S])?/gu;

export function formatPercent(format: string, values: JinjaValue): string {
  spendOnText(format.length);
  const items = values instanceof Tuple ? values.items : [values];
  let used = 0;
  const next = (): JinjaValue => {
    if (used >= items.length) throw new TemplateFault("a text has more places than values");
    return items[used++];
  };
  const number = (text: string | undefined): number | undefined => {
    if (text === undefined) return undefined;
    if (text === "*") throw new TemplateFault("a width of * is not supported");
    const value = Number(text);
    checkLength(value);
    return value;
  };
  const result = format.replace(
    CONVERSION,
    (_, key: string | undefined, flags: string, width?: string, precision?: string, type?: string) => {
      if (type === undefined) throw new TemplateFault("a text ends within a place for a value");
      if (type === "%") {
        if (flags !== "" || width !== undefined || precision !== undefined || key !== undefined) {
          throw new TemplateFault("a % has flags");
        }
        return "%";
      }
      let value: JinjaValue;
      if (key === undefined) {
        value = next();
      } else {
        if (!(values instanceof Dict)) throw new TemplateFault("a text with named places wants a dict");
        const found = values.get(key);
        if (found === undefined)
          throw new TemplateFault(`a text has the place "${key}", for which there is no value`);
        value = found;
        used = items.length;
      }
      return field(value, type, flags, number(width) ?? 0, number(precision));
    },
  );
  const mapping = values instanceof Dict || isList(values) || values instanceof Range;
  if (used < items.length && !mapping) throw new TemplateFault("a text has fewer places than values");
  return result;
}

function field(
  value: JinjaValue,
  type: string,
  flags: string,
  width: number,
  precision: number | undefined,
): string {
  const left = flags.includes("-");
  const pad = (sign: string, body: string, zeros: boolean): string => {
    if (zeros && !left && flags.includes("0")) {
      const prefix = /^0[xo]/i.exec(body)?.[0] ?? "";
      return sign + prefix + padding(sign + body, width, "0") + body.slice(prefix.length);
    }
    const space = padding(sign + body, width, " ");
    return left ? sign + body + space : space + sign + body;
  };
  const sign = (negative: boolean): string =>
    negative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "";
  switch (type) {
    case "s":
    case "r": {
      const text = type === "s" ? textOf(value) : representation(value);
      return pad("", precision === undefined ? text : cut(text, precision), false);
    }
    case "c":
      if (typeof value !== "string" || [...value].length !== 1) {
        throw new TemplateFault("%c wants one character here");
      }
      return pad("", value, false);
    case "d":
    case "i":
    case "u":
    case "x":
    case "X":
    case "o": {
      const whole = intOf(value, /[xXo]/.test(type));
      const digits = intDigits(whole, type, flags.includes("#"));
      if (precision !== undefined && flags.includes("#"))
        throw new TemplateFault("a place has unsupported flags");
      return pad(sign(whole < 0n), digits.padStart(precision ?? 0, "0"), true);
    }
    case "e":
    case "E":
    case "f":
    case "F":
    case "g":
    case "G": {
      const x = floatOf(value);
      return pad(sign(isNegative(x)), floatDigits(x, type, precision ?? 6, flags.includes("#")), true);
    }
  }
  throw new TemplateFault(`a text has a place of the unsupported kind "${type}"`);
}

function intOf(value: JinjaValue, exact: boolean): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value === "number" && Number.isFinite(value) && !exact) return BigInt(Math.trunc(value));
  throw wrong(value);
}

function floatOf(value: JinjaValue): number {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "bigint" && BigInt(Number(value)) === value) return Number(value);
  throw wrong(value);
}

function wrong(value: JinjaValue): TemplateFault {
  if (value instanceof Undefined) return value.fail();
  return new TemplateFault(`a ${typeName(value)} is formatted as a number`);
}
