/** Arithmetic, comparison and membership, as Python has them. */
import type { BinaryOperator, CompareOperator } from "./ast.ts";
import { checkLength, spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { formatPercent } from "./format-percent.ts";
import { compareText } from "./unicode.ts";
import {
  Dict,
  DictView,
  isList,
  itemsOf,
  iterate,
  Markup,
  Range,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

/** Beyond this an int is not computed with: Python itself prints none of more than 4,300 digits. */
const LARGEST = 10n ** 4_000n;
const LARGEST_BITS = 13_000;

/** A bool counts as 0 or 1; undefined: not a number. */
export function numberOf(value: JinjaValue): bigint | number | undefined {
  if (typeof value === "boolean") return value ? 1n : 0n;
  return typeof value === "bigint" || typeof value === "number" ? value : undefined;
}

export function binary(operator: BinaryOperator, left: JinjaValue, right: JinjaValue): JinjaValue {
  if (left instanceof Undefined) throw left.fail();
  if (operator === "%" && typeof left === "string") return formatPercent(left, right);
  if (right instanceof Undefined) throw right.fail();
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== undefined && b !== undefined) return arithmetic(operator, a, b);
  if (operator === "+") {
    if (typeof left === "string" && typeof right === "string") {
      spendOnText(left.length + right.length);
      return left + right;
    }
    const [first, second] = [itemsOf(left), itemsOf(right)];
    if (first !== undefined && second !== undefined && isList(left) === isList(right)) {
      return likeOperand(left, [...first, ...second]);
    }
  }
  if (operator === "*") {
    if (typeof b === "bigint") return repeat(left, b);
    if (typeof a === "bigint") return repeat(right, a);
  }
  throw new TemplateFault(`${typeName(left)} ${operator} ${typeName(right)} is not possible`);
}

function likeOperand(operand: JinjaValue, items: readonly JinjaValue[]): JinjaValue {
  checkLength(items.length);
  spend(items.length);
  return isList(operand) ? items : new Tuple(items);
}

function repeat(value: JinjaValue, times: bigint): JinjaValue {
  const items = itemsOf(value);
  const length = typeof value === "string" ? value.length : items?.length;
  if (length === undefined) throw new TemplateFault(`a ${typeName(value)} is repeated`);
  if (times <= 0n || length === 0) return typeof value === "string" ? "" : likeOperand(value, []);
  checkLength(times > 1n << 30n ? Number.POSITIVE_INFINITY : Number(times) * length);
  if (typeof value === "string") {
    spendOnText(value.length * Number(times));
    return value.repeat(Number(times));
  }
  return likeOperand(value, Array.from({ length: Number(times) }, () => items!).flat());
}

function arithmetic(operator: BinaryOperator, left: bigint | number, right: bigint | number): JinjaValue {
  if (typeof left === "bigint" && typeof right === "bigint") return integers(operator, left, right);
  return floats(operator, toFloat(left), toFloat(right));
}

/** @throws TemplateFault if the float would not be exact */
export function toFloat(value: bigint | number): number {
  if (typeof value === "number") return value;
  if (BigInt(Number(value)) !== value) throw new TemplateFault("an integer is too large for a float");
  return Number(value);
}

function integers(operator: BinaryOperator, left: bigint, right: bigint): JinjaValue {
  switch (operator) {
    case "+":
      return checked(left + right);
    case "-":
      return checked(left - right);
    case "*":
      return checked(left * right);
    case "/":
      return floats("/", toFloat(left), toFloat(right));
    case "//":
    case "%": {
      if (right === 0n) throw new TemplateFault("it divides by zero");
      const rest = left % right;
      const adjust = rest !== 0n && rest < 0n !== right < 0n;
      if (operator === "%") return adjust ? rest + right : rest;
      return adjust ? left / right - 1n : left / right;
    }
    case "**": {
      if (right < 0n) throw new TemplateFault("negative powers are not supported");
      const bits = left.toString(2).length;
      if (bits > 2 && (right > BigInt(LARGEST_BITS) || BigInt(bits) * right > BigInt(LARGEST_BITS))) {
        throw new TemplateFault("a number is too large");
      }
      return bits <= 2 && right > 1_000n ? smallPower(left, right) : checked(left ** right);
    }
  }
}

/** Of -1, 0 and 1, to any power. */
function smallPower(base: bigint, exponent: bigint): bigint {
  if (base > 1n || base < -1n) throw new TemplateFault("a number is too large");
  return base === -1n && exponent % 2n === 0n ? 1n : base;
}

function checked(value: bigint): bigint {
  if (value > LARGEST || value < -LARGEST) throw new TemplateFault("a number is too large");
  return value;
}

function floats(operator: BinaryOperator, left: number, right: number): number {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "**":
      // The last digit differs between libraries.
      throw new TemplateFault("powers of floats are not supported");
  }
  if (right === 0) throw new TemplateFault("it divides by zero");
  if (operator === "/") return left / right;
  // CPython's float_divmod.
  let rest = left % right;
  let quotient = (left - rest) / right;
  if (rest !== 0) {
    if (right < 0 !== rest < 0) {
      rest += right;
      quotient -= 1;
    }
  } else {
    rest = right < 0 ? -0 : 0;
  }
  if (operator === "%") return rest;
  if (quotient === 0) return left / right < 0 || Object.is(left / right, -0) ? -0 : 0;
  const whole = Math.floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

export function compare(operator: CompareOperator, left: JinjaValue, right: JinjaValue): boolean {
  switch (operator) {
    case "==":
      return equal(left, right);
    case "!=":
      return !equal(left, right);
    case "in":
      return contains(right, left);
    case "not in":
      return !contains(right, left);
    case "<":
      return order(left, right) < 0;
    case "<=":
      return order(left, right) <= 0;
    case ">":
      return order(left, right) > 0;
    case ">=":
      return order(left, right) >= 0;
  }
}

/** `==`: of different types unequal, but numbers and bools are compared by value. */
export function equal(left: JinjaValue, right: JinjaValue): boolean {
  spend(1);
  if (typeof left === "string" && typeof right === "string") {
    spend(Math.min(left.length, right.length) >> 6);
    return left === right;
  }
  const [a, b] = [numberOf(left), numberOf(right)];
  // biome-ignore lint/suspicious/noDoubleEquals: compares a bigint and a number by value
  if (a !== undefined && b !== undefined) return a == b;
  const [first, second] = [itemsOf(left), itemsOf(right)];
  if (first !== undefined && second !== undefined) {
    return (
      isList(left) === isList(right) &&
      first.length === second.length &&
      first.every((item, i) => equalItems(item, second[i]))
    );
  }
  if (left instanceof Undefined && right instanceof Undefined) return true;
  if (left instanceof Dict && right instanceof Dict) {
    if (left.size !== right.size) return false;
    for (const [key, item] of left.entries()) {
      const other = right.get(key);
      if (other === undefined || !equalItems(item, other)) return false;
    }
    return true;
  }
  for (const value of [left, right]) {
    if (value instanceof DictView || value instanceof Range || value instanceof Markup) {
      throw new TemplateFault(`a ${typeName(value)} is compared`);
    }
  }
  return left === right;
}

/** Inside lists and dicts, where what is the same object is equal. */
function equalItems(left: JinjaValue, right: JinjaValue): boolean {
  if (Number.isNaN(left) && Number.isNaN(right)) throw new TemplateFault("lists with NaN are compared");
  return equal(left, right);
}

/** Negative, zero or positive; NaN where no order holds. @throws TemplateFault for types without an order */
export function order(left: JinjaValue, right: JinjaValue): number {
  spend(1);
  if (left instanceof Undefined) throw left.fail();
  if (right instanceof Undefined) throw right.fail();
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== undefined && b !== undefined) {
    // biome-ignore lint/suspicious/noDoubleEquals: compares a bigint and a number by value
    return a < b ? -1 : a > b ? 1 : a == b ? 0 : Number.NaN;
  }
  if (typeof left === "string" && typeof right === "string") {
    spend(Math.min(left.length, right.length) >> 4);
    return compareText(left, right);
  }
  const [first, second] = [itemsOf(left), itemsOf(right)];
  if (first !== undefined && second !== undefined && isList(left) === isList(right)) {
    for (let i = 0; i < first.length && i < second.length; i++) {
      if (!equalItems(first[i], second[i])) return order(first[i], second[i]);
    }
    return first.length - second.length;
  }
  throw new TemplateFault(`a ${typeName(left)} and a ${typeName(right)} have no order`);
}

export function contains(container: JinjaValue, value: JinjaValue): boolean {
  if (typeof container === "string") {
    if (value instanceof Undefined) throw value.fail();
    if (typeof value !== "string") throw new TemplateFault(`a ${typeName(value)} is looked for in a text`);
    spendOnText(container.length);
    return container.includes(value);
  }
  if (container instanceof Dict) return container.get(value) !== undefined;
  if (container instanceof DictView && container.part === "keys") {
    return container.dict.get(value) !== undefined;
  }
  if (container instanceof DictView && container.part === "items") {
    throw new TemplateFault("something is looked for in the items of a dict");
  }
  const iterator = iterate(container);
  if (iterator === undefined) throw new TemplateFault(`something is looked for in a ${typeName(container)}`);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    if (equalItems(next.value, value)) return true;
  }
  return false;
}
