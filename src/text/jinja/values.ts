/**
 * Python's values. An int is a bigint and a float a number, so that 1 and 1.0 stay apart; None is null; a str and a
 * bool are JavaScript's; a list is an array. The rest are the classes below.
 */
import { spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { codePoints, textLength } from "./unicode.ts";

export type JinjaValue =
  | null
  | boolean
  | bigint
  | number
  | string
  | readonly JinjaValue[]
  | Tuple
  | Dict
  | DictView
  | Range
  | Lazy
  | Undefined
  | Markup
  | Callable
  | ObjectValue;

export class Tuple {
  readonly items: readonly JinjaValue[];
  /** Names of the items, where it is a named tuple. */
  readonly fields: readonly string[];

  constructor(items: readonly JinjaValue[], fields: readonly string[] = []) {
    this.items = items;
    this.fields = fields;
  }
}

/** What a name or attribute that is not there gives: it prints as nothing, and most of what is done with it fails. */
export class Undefined {
  /** What it was: a name or attribute of the template. */
  readonly what: string;

  constructor(what: string) {
    this.what = what;
  }

  fail(): TemplateFault {
    return new TemplateFault(`${this.what} is undefined`);
  }
}

/** In the order of insertion; 1, 1.0 and True are one key. */
export class Dict {
  readonly #entries = new Map<string, [JinjaValue, JinjaValue]>();

  constructor(entries: Iterable<readonly [JinjaValue, JinjaValue]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** @throws TemplateFault if the key is a list or dict */
  get(key: JinjaValue): JinjaValue | undefined {
    return this.#entries.get(hashKey(key))?.[1];
  }

  set(key: JinjaValue, value: JinjaValue): void {
    const hash = hashKey(key);
    const old = this.#entries.get(hash);
    if (old === undefined) this.#entries.set(hash, [key, value]);
    else old[1] = value;
  }

  entries(): IterableIterator<[JinjaValue, JinjaValue]> {
    return this.#entries.values();
  }
}

export class DictView {
  readonly dict: Dict;
  readonly part: "keys" | "values" | "items";

  constructor(dict: Dict, part: "keys" | "values" | "items") {
    this.dict = dict;
    this.part = part;
  }
}

export class Range {
  readonly start: number;
  readonly stop: number;
  readonly step: number;
  readonly length: number;

  constructor(start: number, stop: number, step: number) {
    this.start = start;
    this.stop = stop;
    this.step = step;
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }

  at(i: number): bigint {
    return BigInt(this.start + i * this.step);
  }
}

/** A generator or iterator: read once, always true, without a length. */
export class Lazy {
  readonly iterator: Iterator<JinjaValue>;

  constructor(iterator: Iterator<JinjaValue>) {
    this.iterator = iterator;
  }
}

/** A text marked as safe. Only its printing is supported: what else is done with it escapes HTML. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export interface CallArguments {
  readonly positional: readonly JinjaValue[];
  readonly named: ReadonlyMap<string, JinjaValue>;
}

export class Callable {
  readonly name: string;
  readonly call: (args: CallArguments) => JinjaValue;

  constructor(name: string, call: (args: CallArguments) => JinjaValue) {
    this.name = name;
    this.call = call;
  }
}

/** An object with its own attributes: namespace, loop, cycler. */
export abstract class ObjectValue {
  abstract readonly type: string;
  /** Undefined: there is none of that name. */
  abstract attribute(name: string): JinjaValue | undefined;
}

export class Namespace extends ObjectValue {
  readonly type = "Namespace";
  readonly values: Dict;

  constructor(values: Dict) {
    super();
    this.values = values;
  }

  attribute(name: string): JinjaValue | undefined {
    return this.values.get(name);
  }
}

/** Python's name of a value's type. */
export function typeName(value: JinjaValue): string {
  if (value === null) return "None";
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "float";
    case "string":
      return "str";
  }
  if (Array.isArray(value)) return "list";
  if (value instanceof ObjectValue) return value.type;
  if (value instanceof DictView) return `dict_${value.part}`;
  if (value instanceof Lazy) return "generator";
  if (value instanceof Callable) return "function";
  return value.constructor.name.toLowerCase();
}

export function isList(value: JinjaValue): value is readonly JinjaValue[] {
  return Array.isArray(value);
}

/** The items of a list or tuple. */
export function itemsOf(value: JinjaValue): readonly JinjaValue[] | undefined {
  return isList(value) ? value : value instanceof Tuple ? value.items : undefined;
}

export function isTrue(value: JinjaValue): boolean {
  if (value === null || value === "" || value === 0n || value === 0 || value === false) return false;
  if (typeof value !== "object") return true;
  if (value instanceof Undefined) return false;
  if (value instanceof Markup) return value.text !== "";
  return lengthOf(value) !== 0;
}

/** What `len` gives; undefined: the type has no length. */
export function lengthOf(value: JinjaValue): number | undefined {
  if (typeof value === "string") return textLength(value);
  const items = itemsOf(value);
  if (items !== undefined) return items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof DictView) return value.dict.size;
  if (value instanceof Range) return value.length;
  if (value instanceof Undefined) return 0;
  return undefined;
}

/** The elements that a loop over the value sees; undefined: it can't be iterated. */
export function iterate(value: JinjaValue): Iterator<JinjaValue> | undefined {
  if (typeof value === "string") return codePoints(value)[Symbol.iterator]();
  if (value instanceof Lazy) return value.iterator;
  if (value instanceof Undefined) return [][Symbol.iterator]();
  const items = itemsOf(value);
  if (items !== undefined) return items[Symbol.iterator]();
  if (value instanceof Dict) return entriesOf(value, "keys");
  if (value instanceof DictView) return entriesOf(value.dict, value.part);
  if (value instanceof Range) return numbersOf(value);
  return undefined;
}

function* entriesOf(dict: Dict, part: DictView["part"]): Generator<JinjaValue> {
  for (const [key, value] of dict.entries()) {
    yield part === "keys" ? key : part === "values" ? value : new Tuple([key, value]);
  }
}

function* numbersOf(range: Range): Generator<JinjaValue> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

/** @throws TemplateFault if it can't be iterated */
export function iteratorOf(value: JinjaValue): Iterator<JinjaValue> {
  const iterator = iterate(value);
  if (iterator === undefined) throw new TemplateFault(`a ${typeName(value)} is looped over`);
  return iterator;
}

/** All elements. @throws TemplateFault if it can't be iterated */
export function listOf(value: JinjaValue): JinjaValue[] {
  const iterator = iteratorOf(value);
  const list: JinjaValue[] = [];
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    spend(1);
    list.push(next.value);
  }
  return list;
}

/** Equal for keys that Python takes for the same. @throws TemplateFault for a list or dict */
export function hashKey(key: JinjaValue): string {
  spend(1);
  if (typeof key === "string") return `s${key}`;
  if (typeof key === "bigint") return `n${key}`;
  if (typeof key === "boolean") return key ? "n1" : "n0";
  if (typeof key === "number") {
    if (Number.isNaN(key)) throw new TemplateFault("a key is not a number");
    return Number.isInteger(key) ? `n${BigInt(key)}` : `n${key}`;
  }
  if (key === null) return "none";
  if (key instanceof Undefined) return "undefined";
  if (key instanceof Tuple) {
    const hash = key.items
      .map(hashKey)
      .map((item) => `${item.length} ${item}`)
      .join("");
    spendOnText(hash.length);
    return `t${hash}`;
  }
  throw new TemplateFault(`a ${typeName(key)} is used as a key`);
}
