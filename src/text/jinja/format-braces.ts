/** `str.format`: fields in braces, with Python's format specification. */
import { checkLength, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { cut, floatDigits, intDigits, isNegative, padding } from "./format-number.ts";
import { floatText } from "./numbers.ts";
import { representation, textOf } from "./text.ts";
import { type CallArguments, typeName, Undefined, type JinjaValue } from "./values.ts";

/** Attributes and items, by the rules of the template. */
export interface Access {
  attribute(value: JinjaValue, name: string): JinjaValue;
  item(value: JinjaValue, key: JinjaValue): JinjaValue;
}

const PART = /\{\{|\}\}|\{([^{}]*)\}|[{}]/gu;
const FIELD = /^([^.[!:]*)((?:\.[^.[!:]+|\[[^\]]+\])*)(?:!([^:]*))?(?::([\s\S]*))?$/u;

export function formatBraces(format: string, { positional, named }: CallArguments, access: Access): string {
  spendOnText(format.length);
  let automatic = 0;
  let numbered = false;
  const argument = (name: string): JinjaValue => {
    let value: JinjaValue | undefined;
    if (name === "") {
      if (numbered) throw new TemplateFault("a text mixes numbered fields with others");
      value = positional[automatic++];
    } else if (/^\d+$/.test(name)) {
      if (automatic > 0) throw new TemplateFault("a text mixes numbered fields with others");
      numbered = true;
      value = positional[Number(name)];
    } else {
      value = named.get(name);
    }
    if (value === undefined) throw new TemplateFault("a text has a field for which there is no value");
    return value;
  };
  const result = format.replace(PART, (whole, inside: string | undefined) => {
    if (whole === "{{" || whole === "}}") return whole[0];
    const field = inside === undefined ? null : FIELD.exec(inside);
    if (field === null) throw new TemplateFault("a text has braces that are not read here");
    const [, name, path, conversion, specification = ""] = field;
    let value = argument(name);
    for (const [step] of path.matchAll(/\.[^.[]+|\[[^\]]+\]/g)) {
      if (step.startsWith(".")) value = access.attribute(value, step.slice(1));
      else value = access.item(value, /^\[\d+\]$/.test(step) ? BigInt(step.slice(1, -1)) : step.slice(1, -1));
    }
    if (conversion === "s") value = textOf(value);
    else if (conversion === "r") value = representation(value);
    else if (conversion !== undefined) throw new TemplateFault("a field has an unsupported conversion");
    return formatField(value, specification);
  });
  checkLength(result.length);
  return result;
}

const SPECIFICATION = /^(?:([\s\S])?([<>=^]))?([-+ ])?(#)?(0)?(\d+)?(,|_)?(?:\.(\d+))?([a-zA-Z%])?$/u;

/** `format(value, specification)`. */
export function formatField(value: JinjaValue, specification: string): string {
  if (specification === "") return textOf(value);
  const parts = SPECIFICATION.exec(specification);
  if (parts === null) throw new TemplateFault("a field has a specification that is not read here");
  const [, given, align, sign, alternate, zero, width, grouping, precision, type] = parts;
  const fill = given ?? (zero !== undefined && align === undefined ? "0" : " ");
  const digits = precision === undefined ? undefined : Number(precision);
  const place = (prefix: string, body: string, usual: string): string => {
    const pad = padding(prefix + body, Number(width ?? 0), fill);
    switch (align ?? usual) {
      case "<":
        return prefix + body + pad;
      case "^": {
        const left = Math.floor(pad.length / fill.length / 2) * fill.length;
        return pad.slice(0, left) + prefix + body + pad.slice(left);
      }
      case "=":
        return prefix + pad + body;
      default:
        return pad + prefix + body;
    }
  };
  if (typeof value === "string") {
    const numeric = sign ?? alternate ?? grouping ?? (align === "=" ? "=" : undefined);
    if (numeric !== undefined || (type !== undefined && type !== "s")) {
      throw new TemplateFault("a text is formatted as a number");
    }
    // A zero before the width only fills, on the right.
    return place("", digits === undefined ? value : cut(value, digits), "<");
  }
  if (value instanceof Undefined || typeof value === "object") {
    throw new TemplateFault(`a ${typeName(value)} has no specification`);
  }
  const usual = zero !== undefined ? "=" : ">";
  const number = typeof value === "boolean" ? (value ? 1n : 0n) : value;
  const signOf = (negative: boolean): string => (negative ? "-" : sign === "+" || sign === " " ? sign : "");
  if (grouping === "_" || (grouping === "," && zero !== undefined)) {
    throw new TemplateFault("a field groups digits in an unsupported way");
  }
  const group = (text: string): string =>
    grouping === undefined ? text : text.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
  if (typeof number === "bigint" && (type === undefined || /[bdoxX]/.test(type))) {
    if (digits !== undefined) throw new TemplateFault("an int is formatted with a precision");
    if (grouping !== undefined && /[boxX]/.test(type ?? ""))
      throw new TemplateFault("a field groups digits in an unsupported way");
    const body = intDigits(number, type ?? "d", false);
    const prefix = alternate !== undefined && /[boxX]/.test(type ?? "") ? `0${type}` : "";
    return place(signOf(number < 0n) + prefix, group(body), usual);
  }
  const x = Number(number);
  if (typeof number === "bigint" && BigInt(x) !== number)
    throw new TemplateFault("an int is too large for a float");
  if (type !== undefined && !/[eEfFgG%]/.test(type))
    throw new TemplateFault("a field has an unsupported type");
  if (type === undefined && digits !== undefined)
    throw new TemplateFault("a float has a precision without a type");
  const body =
    type === undefined
      ? floatText(Math.abs(x))
      : type === "%"
        ? `${floatDigits(x * 100, "f", digits ?? 6, alternate !== undefined)}%`
        : floatDigits(x, type, digits ?? 6, alternate !== undefined);
  return place(signOf(isNegative(x)), group(body), usual);
}
