/** What filters over sequences have in common: attributes of items, sorting, laziness. */
import { itemOf } from "./attributes.ts";
import { spend } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { order } from "./operators.ts";
import { iteratorOf, Lazy, Markup, Undefined, type JinjaValue } from "./values.ts";

export type Getter = (item: JinjaValue) => JinjaValue;

/** The attribute `a.b.0` of an item, looked up as with brackets. */
export function getter(attribute: JinjaValue, ignoreCase: boolean, fallback: JinjaValue = null): Getter {
  const parts = attributeParts(attribute);
  return (item) => {
    let value = item;
    for (const part of parts) {
      value = itemOf(value, part);
      if (fallback !== null && value instanceof Undefined) value = fallback;
    }
    return ignoreCase ? lowered(value) : value;
  };
}

function attributeParts(attribute: JinjaValue): JinjaValue[] {
  if (attribute === null) return [];
  if (typeof attribute !== "string") return [attribute];
  return attribute.split(".").map((part) => (/^\d+$/.test(part) ? BigInt(part) : part));
}

export function lowered(value: JinjaValue): JinjaValue {
  if (value instanceof Markup) throw new TemplateFault("a text marked as safe is only printed here");
  return typeof value === "string" ? value.toLowerCase() : value;
}

/** Sorted by keys, stable in both directions. */
export function sorted<T>(items: readonly T[], keyOf: (item: T) => JinjaValue, reverse: boolean): T[] {
  const keyed = items.map((item) => ({ item, key: keyOf(item) }));
  keyed.sort((a, b) => {
    const difference = reverse ? order(b.key, a.key) : order(a.key, b.key);
    if (Number.isNaN(difference)) throw new TemplateFault("what is not a number is sorted");
    return difference;
  });
  return keyed.map(({ item }) => item);
}

/** Runs a generator function for a filter that gives an iterator. */
export function lazily(generate: () => Generator<JinjaValue>): Lazy {
  return new Lazy(generate());
}

export function* each(value: JinjaValue): Generator<JinjaValue> {
  const iterator = iteratorOf(value);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    spend(1);
    yield next.value;
  }
}
