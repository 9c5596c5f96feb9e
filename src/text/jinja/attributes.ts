/**
 * `value.name` and `value[key]`: a dot looks for an attribute first and an item then, brackets the other way round.
 * What Python has and is not supported here is refused; what a sandbox withholds is undefined.
 */
import { intArgument, positionals } from "./arguments.ts";
import { spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { formatBraces } from "./format-braces.ts";
import { equal } from "./operators.ts";
import { STRING_METHODS } from "./string-methods.ts";
import { codePoints, isPlain } from "./unicode.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  DictView,
  isList,
  itemsOf,
  Lazy,
  Markup,
  ObjectValue,
  Range,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

export function attributeOf(value: JinjaValue, name: string): JinjaValue {
  if (value instanceof Undefined) throw value.fail();
  const found = attribute(value, name);
  if (found !== undefined) return found;
  return orUndefined(item(value, name), `"${name}" of a ${typeName(value)}`);
}

/** None is a value like others: only what is not there is undefined. */
function orUndefined(found: JinjaValue | undefined, what: string): JinjaValue {
  return found === undefined ? new Undefined(what) : found;
}

export function itemOf(value: JinjaValue, key: JinjaValue): JinjaValue {
  if (value instanceof Undefined) throw value.fail();
  let found = item(value, key);
  if (found === undefined && typeof key === "string") found = attribute(value, key);
  return orUndefined(found, `an item of a ${typeName(value)}`);
}

/** The attribute of `|attr`, which looks for no item. */
export function ownAttribute(value: JinjaValue, name: string): JinjaValue {
  if (value instanceof Undefined) throw value.fail();
  return orUndefined(attribute(value, name), `"${name}" of a ${typeName(value)}`);
}

function item(value: JinjaValue, key: JinjaValue): JinjaValue | undefined {
  if (value instanceof Markup) throw new TemplateFault("a text marked as safe is only printed here");
  if (value instanceof Dict) {
    // No dict has a key that is a list or a dict; Python's error reads as a missing item.
    if (isList(key) || key instanceof Dict) return undefined;
    return value.get(key);
  }
  if (typeof value === "string") spendOnText(value.length);
  const index = typeof key === "boolean" ? (key ? 1n : 0n) : key;
  if (typeof index !== "bigint") return undefined;
  const plain = typeof value === "string" && isPlain(value);
  const elements = plain ? value : typeof value === "string" ? codePoints(value) : itemsOf(value);
  const length = BigInt(elements?.length ?? (value instanceof Range ? value.length : 0));
  const at = index < 0n ? index + length : index;
  if (at < 0n || at >= length) return undefined;
  return value instanceof Range ? value.at(Number(at)) : elements![Number(at)];
}

/** What Python has under these names is not supported. */
const UNSUPPORTED: Record<string, string> = {
  str: "casefold encode format_map isidentifier isprintable istitle maketrans swapcase translate",
  int: "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes",
  float: "as_integer_ratio conjugate fromhex hex imag is_integer real",
  dict: "fromkeys",
  range: "count index start step stop",
  generator: "close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw",
  view: "isdisjoint mapping",
  function: "name arguments catch_kwargs catch_varargs caller explicit_caller",
};
/** What changes a value, which the sandbox takes away. */
const WITHHELD: Record<string, string> = {
  list: "append clear extend insert pop remove reverse sort",
  dict: "clear pop popitem setdefault update",
};

function attribute(value: JinjaValue, name: string): JinjaValue | undefined {
  if (name.startsWith("__")) throw new TemplateFault(`the attribute "${name}" is not supported`);
  const type = value instanceof DictView ? "view" : typeName(value) === "bool" ? "int" : typeName(value);
  const has = (names: string | undefined): boolean => names?.split(" ").includes(name) === true;
  if (has(WITHHELD[type])) return new Undefined(`"${name}", which changes a ${type},`);
  if (has(UNSUPPORTED[type])) throw new TemplateFault(`"${name}" of a ${type} is not supported`);
  const what = `${type}.${name}`;
  if (typeof value === "string") {
    if (name === "format") {
      return new Callable(what, (args) =>
        formatBraces(value, args, { attribute: attributeOf, item: itemOf }),
      );
    }
    const method = STRING_METHODS.get(name);
    return method === undefined
      ? undefined
      : new Callable(what, (args) => {
          spendOnText(value.length);
          return method(value, args, what);
        });
  }
  if (value instanceof Dict) return dictMethod(value, name, what);
  if (isList(value) || value instanceof Tuple) return listMethod(value, name, what);
  if (value instanceof ObjectValue) return value.attribute(name);
  if (value instanceof Markup) throw new TemplateFault("a text marked as safe is only printed here");
  if (value instanceof Lazy || value instanceof Callable) return undefined;
  return undefined;
}

function dictMethod(dict: Dict, name: string, what: string): JinjaValue | undefined {
  switch (name) {
    case "get":
      return new Callable(what, (args) => {
        const [key, fallback = null] = positionals(what, args, 1, 2);
        const found = dict.get(key!);
        return found === undefined ? fallback : found;
      });
    case "keys":
    case "values":
    case "items":
      return new Callable(what, (args) => {
        positionals(what, args, 0, 0);
        return new DictView(dict, name);
      });
    case "copy":
      return new Callable(what, (args) => {
        positionals(what, args, 0, 0);
        spend(dict.size);
        return new Dict(dict.entries());
      });
  }
  return undefined;
}

function listMethod(list: readonly JinjaValue[] | Tuple, name: string, what: string): JinjaValue | undefined {
  const items = itemsOf(list)!;
  if (name === "count") {
    return new Callable(what, (args) => {
      const [wanted] = positionals(what, args, 1, 1);
      return BigInt(items.filter((each) => equal(each, wanted!)).length);
    });
  }
  if (name === "index") return new Callable(what, (args) => indexIn(items, args, what));
  if (name === "copy" && isList(list)) {
    return new Callable(what, (args) => {
      positionals(what, args, 0, 0);
      spend(items.length);
      return [...items];
    });
  }
  const field = list instanceof Tuple ? list.fields.indexOf(name) : -1;
  return field < 0 ? undefined : items[field];
}

function indexIn(items: readonly JinjaValue[], args: CallArguments, what: string): bigint {
  const [wanted, from = 0n, to = BigInt(items.length)] = positionals(what, args, 1, 3);
  const clamp = (value: number): number => Math.max(0, value < 0 ? value + items.length : value);
  const end = Math.min(items.length, clamp(intArgument(what, to)));
  for (let i = clamp(intArgument(what, from)); i < end; i++) {
    if (equal(items[i], wanted!)) return BigInt(i);
  }
  throw new TemplateFault(`${what} finds nothing`);
}
