/** What `is` asks. */
import { positionals, textArgument } from "./arguments.ts";
import type { CompareOperator } from "./ast.ts";
import { TemplateFault } from "./errors.ts";
import { classOf } from "./letters.ts";
import { Loop } from "./loop.ts";
import { FILTER_NAMES, TEST_NAMES } from "./names.ts";
import { binary, compare, equal, numberOf } from "./operators.ts";
import { textOf } from "./text.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  DictView,
  iterate,
  lengthOf,
  Markup,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

const TESTS: Record<string, (value: JinjaValue) => boolean> = {
  defined: (value) => !(value instanceof Undefined),
  undefined: (value) => value instanceof Undefined,
  none: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  true: (value) => value === true,
  false: (value) => value === false,
  integer: (value) => typeof value === "bigint",
  float: (value) => typeof value === "number",
  number: (value) => numberOf(value) !== undefined,
  string: (value) => typeof value === "string" || value instanceof Markup,
  mapping: (value) => value instanceof Dict,
  sequence: (value) =>
    value instanceof Markup || (lengthOf(value) !== undefined && !(value instanceof DictView)),
  iterable: (value) => iterate(value) !== undefined || value instanceof Loop || value instanceof Markup,
  callable: (value) => {
    if (value instanceof Undefined) return true;
    return value instanceof Callable || value instanceof Loop;
  },
  escaped: (value) => value instanceof Markup,
  lower: (value) => classOf("islower", textOf(value)),
  upper: (value) => classOf("isupper", textOf(value)),
  odd: (value) => equal(binary("%", value, 2n), 1n),
  even: (value) => equal(binary("%", value, 2n), 0n),
};

const COMPARISONS: Record<string, CompareOperator> = {
  "==": "==",
  eq: "==",
  equalto: "==",
  "!=": "!=",
  ne: "!=",
  ">": ">",
  gt: ">",
  greaterthan: ">",
  ">=": ">=",
  ge: ">=",
  "<": "<",
  lt: "<",
  lessthan: "<",
  "<=": "<=",
  le: "<=",
  in: "in",
};

/** @throws TemplateFault if there is none of that name, or it fails */
export function applyTest(name: string, value: JinjaValue, args: CallArguments): boolean {
  if (Object.hasOwn(TESTS, name)) {
    positionals(name, args, 0, 0);
    return TESTS[name](value);
  }
  if (Object.hasOwn(COMPARISONS, name)) {
    const [other] = positionals(name, args, 1, 1);
    return compare(COMPARISONS[name], value, other!);
  }
  if (name === "divisibleby") {
    const [divisor] = positionals(name, args, 1, 1);
    return equal(binary("%", value, divisor!), 0n);
  }
  if (name === "sameas") return same(value, positionals(name, args, 1, 1)[0]!);
  if (name === "filter" || name === "test") {
    positionals(name, args, 0, 0);
    return (name === "filter" ? FILTER_NAMES : TEST_NAMES).has(textArgument(name, value));
  }
  throw new TemplateFault("there is no test of that name");
}

/** Python's `is`. Whether two equal texts or numbers are one object is Python's own affair. */
function same(value: JinjaValue, other: JinjaValue): boolean {
  if (typeof value !== typeof other) return false;
  if (typeof value === "string" || typeof value === "bigint" || typeof value === "number") {
    throw new TemplateFault(`sameas compares two of the type ${typeName(value)}`);
  }
  return value === other;
}
