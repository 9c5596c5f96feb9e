/** Filters over lists, dicts and whatever else can be looped over. What is lazy in jinja2 is lazy here. */
import { bind, intArgument, positionals, textArgument } from "./arguments.ts";
import { attributeOf, ownAttribute } from "./attributes.ts";
import { checkLength, spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import type { Filters, Lookup } from "./filter.ts";
import { binary, equal, order } from "./operators.ts";
import { each, type Getter, getter, lazily, lowered, sorted } from "./sequences.ts";
import { textOf } from "./text.ts";
import { codePoints } from "./unicode.ts";
import {
  type CallArguments,
  Dict,
  DictView,
  hashKey,
  isTrue,
  iterate,
  iteratorOf,
  Lazy,
  lengthOf,
  listOf,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

export const SEQUENCE_FILTERS: Filters = {
  length: (value, args) => {
    positionals("length", args, 0, 0);
    const length = lengthOf(value);
    if (length === undefined) throw new TemplateFault(`a ${typeName(value)} has no length`);
    return BigInt(length);
  },
  list: (value, args) => {
    positionals("list", args, 0, 0);
    return listOf(value);
  },
  first: (value, args) => {
    positionals("first", args, 0, 0);
    const next = iteratorOf(value).next();
    return next.done ? new Undefined("the first item of nothing") : next.value;
  },
  last: (value, args) => {
    positionals("last", args, 0, 0);
    const next = reversed(value)?.next();
    if (next === undefined) throw new TemplateFault(`a ${typeName(value)} is read from its end`);
    return next.done ? new Undefined("the last item of nothing") : next.value;
  },
  reverse: (value, args) => {
    positionals("reverse", args, 0, 0);
    if (typeof value === "string") return codePoints(value).reverse().join("");
    const backwards = reversed(value);
    return backwards === undefined ? listOf(value).reverse() : new Lazy(backwards);
  },
  join: (value, args) => {
    const [separator = "", attribute = null] = bind("join", args, ["d", "attribute"]);
    const get = getter(attribute, false);
    const between = textOf(separator);
    const parts: string[] = [];
    let length = 0;
    for (const item of each(value)) {
      const part = textOf(get(item));
      spendOnText(part.length + between.length);
      checkLength((length += part.length + between.length));
      parts.push(part);
    }
    return parts.join(between);
  },
  sort: (value, args) => {
    const [reverse = false, sensitive = false, attribute = null] = bind("sort", args, [
      "reverse",
      "case_sensitive",
      "attribute",
    ]);
    const names = typeof attribute === "string" ? attribute.split(",") : [attribute];
    const getters = names.map((name) => getter(name, !isTrue(sensitive)));
    return sorted(listOf(value), (item) => getters.map((get) => get(item)), isTrue(reverse));
  },
  dictsort: (value, args) => {
    const [sensitive = false, by = "key", reverse = false] = bind("dictsort", args, [
      "case_sensitive",
      "by",
      "reverse",
    ]);
    if (by !== "key" && by !== "value") throw new TemplateFault(`dictsort sorts by "key" or "value"`);
    if (value instanceof Undefined) throw value.fail();
    if (!(value instanceof Dict)) throw new TemplateFault(`a ${typeName(value)} is sorted as a dict`);
    const keyOf = ([key, item]: readonly [JinjaValue, JinjaValue]): JinjaValue => {
      const sortedBy = by === "key" ? key : item;
      return isTrue(sensitive) ? sortedBy : lowered(sortedBy);
    };
    return sorted([...value.entries()], keyOf, isTrue(reverse)).map((pair) => new Tuple(pair));
  },
  unique: (value, args) => {
    const [sensitive = false, attribute = null] = bind("unique", args, ["case_sensitive", "attribute"]);
    const get = getter(attribute, !isTrue(sensitive));
    return lazily(function* () {
      const seen = new Set<string>();
      for (const item of each(value)) {
        const key = hashKey(get(item));
        if (!seen.has(key)) yield item;
        seen.add(key);
      }
    });
  },
  min: (value, args) => extreme("min", value, args),
  max: (value, args) => extreme("max", value, args),
  sum: (value, args) => {
    const [attribute = null, start = 0n] = bind("sum", args, ["attribute", "start"]);
    if (typeof start === "string") throw new TemplateFault("sum begins with a text");
    const get = getter(attribute, false);
    let total: JinjaValue = start;
    for (const item of each(value)) {
      const next = get(item);
      // From Python 3.12 on floats are summed with a correction.
      if (typeof next === "number") throw new TemplateFault("sums of floats are not supported");
      total = binary("+", total, next);
    }
    return total;
  },
  groupby: (value, args) => {
    const [attribute, fallback = null, sensitive = false] = bind(
      "groupby",
      args,
      ["attribute", "default", "case_sensitive"],
      1,
    );
    const get = getter(attribute!, !isTrue(sensitive), fallback);
    const name = getter(attribute!, false, fallback);
    const groups: { key: JinjaValue; items: JinjaValue[] }[] = [];
    for (const item of sorted(listOf(value), get, false)) {
      const key = get(item);
      const group = groups.at(-1);
      if (group !== undefined && equal(group.key, key)) group.items.push(item);
      else groups.push({ key, items: [item] });
    }
    return groups.map(({ items }) => new Tuple([name(items[0]), items], ["grouper", "list"]));
  },
  batch: (value, args) => {
    const [count, fill = null] = bind("batch", args, ["linecount", "fill_with"], 1);
    return lazily(function* () {
      let row: JinjaValue[] = [];
      for (const item of each(value)) {
        if (equal(BigInt(row.length), count!)) {
          yield row;
          row = [];
        }
        row.push(item);
      }
      if (row.length === 0) return;
      const missing = fill === null ? 0 : intArgument("batch", count) - row.length;
      checkLength(missing);
      if (missing > 0) row.push(...Array<JinjaValue>(missing).fill(fill));
      yield row;
    });
  },
  slice: (value, args) => {
    const [count, fill = null] = bind("slice", args, ["slices", "fill_with"], 1);
    return lazily(function* () {
      const items = listOf(value);
      const slices = intArgument("slice", count);
      if (slices === 0) throw new TemplateFault("slice is given zero");
      const [each, extra] = [Math.floor(items.length / slices), items.length % slices];
      for (let i = 0, at = 0; i < slices; i++) {
        spend(1);
        const size = each + (i < extra ? 1 : 0);
        const row = items.slice(at, at + size);
        at += size;
        yield fill !== null && i >= extra ? [...row, fill] : row;
      }
    });
  },
  items: (value, args) => {
    positionals("items", args, 0, 0);
    return lazily(function* () {
      if (value instanceof Undefined) return;
      if (!(value instanceof Dict)) throw new TemplateFault(`a ${typeName(value)} has no items`);
      yield* each(new DictView(value, "items"));
    });
  },
  map: (value, args, lookup) =>
    lazily(function* () {
      if (!isTrue(value)) return;
      const change = mapper(args, lookup);
      for (const item of each(value)) yield change(item);
    }),
  select: (value, args, lookup) => selected(value, args, lookup, true, false),
  reject: (value, args, lookup) => selected(value, args, lookup, false, false),
  selectattr: (value, args, lookup) => selected(value, args, lookup, true, true),
  rejectattr: (value, args, lookup) => selected(value, args, lookup, false, true),
  default: (value, args) => {
    const [fallback = "" as JinjaValue, boolean = false] = bind("default", args, [
      "default_value",
      "boolean",
    ]);
    return value instanceof Undefined || (isTrue(boolean) && !isTrue(value)) ? fallback : value;
  },
  attr: (value, args) => {
    const [name] = bind("attr", args, ["name"], 1);
    const found = ownAttribute(value, textArgument("attr", name));
    return found instanceof Undefined ? found : attributeOf(value, name as string);
  },
};

function reversed(value: JinjaValue): Iterator<JinjaValue> | undefined {
  if (value instanceof Lazy || iterate(value) === undefined) return undefined;
  return listOf(value).reverse()[Symbol.iterator]();
}

function extreme(name: "min" | "max", value: JinjaValue, args: CallArguments): JinjaValue {
  const [sensitive = false, attribute = null] = bind(name, args, ["case_sensitive", "attribute"]);
  const get = getter(attribute, !isTrue(sensitive));
  let best: { item: JinjaValue; key: JinjaValue } | undefined;
  for (const item of each(value)) {
    const key = get(item);
    const difference = best === undefined ? 0 : order(key, best.key);
    if (Number.isNaN(difference)) throw new TemplateFault(`${name} is given what is not a number`);
    if (best === undefined || (name === "min" ? difference < 0 : difference > 0)) best = { item, key };
  }
  return best?.item ?? (best === undefined ? new Undefined(`the ${name} of nothing`) : null);
}

function mapper({ positional, named }: CallArguments, lookup: Lookup): Getter {
  if (positional.length === 0 && named.has("attribute")) {
    const { attribute, default: fallback = null, ...rest } = Object.fromEntries(named);
    if (Object.keys(rest).length > 0) throw new TemplateFault("map has an unknown argument");
    return getter(attribute, false, fallback);
  }
  if (positional.length === 0) throw new TemplateFault("map wants a filter or an attribute");
  const [name, ...others] = positional;
  return (item) => lookup.filter(textArgument("map", name), item, { positional: others, named });
}

function selected(
  value: JinjaValue,
  { positional, named }: CallArguments,
  lookup: Lookup,
  wanted: boolean,
  byAttribute: boolean,
): Lazy {
  return lazily(function* () {
    if (!isTrue(value)) return;
    if (byAttribute && positional.length === 0) throw new TemplateFault("an attribute's name is missing");
    const get: Getter = byAttribute ? getter(positional[0], false) : (item) => item;
    const [name, ...others] = positional.slice(byAttribute ? 1 : 0);
    for (const item of each(value)) {
      const tested = get(item);
      const holds =
        name === undefined
          ? isTrue(tested)
          : isTrue(lookup.test(textArgument("select", name), tested, { positional: others, named }));
      if (holds === wanted) yield item;
    }
  });
}
