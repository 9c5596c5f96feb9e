/** Values of expressions. */
import type { Arguments, Expression } from "./ast.ts";
import { attributeOf, itemOf } from "./attributes.ts";
import { spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { applyFilter } from "./filters.ts";
import type { Frame } from "./frame.ts";
import { binary, compare, numberOf } from "./operators.ts";
import { slice } from "./slices.ts";
import { applyTest } from "./tests.ts";
import { textOf } from "./text.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  isTrue,
  listOf,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

/** @param blockText what a filter of a block is applied to */
export function evaluate(node: Expression, frame: Frame, blockText = ""): JinjaValue {
  spend(1);
  switch (node.kind) {
    case "const":
      return node.value;
    case "name":
      return readName(node, frame);
    case "tuple":
      return new Tuple(node.items.map((item) => evaluate(item, frame)));
    case "list":
      return node.items.map((item) => evaluate(item, frame));
    case "dict":
      return new Dict(node.entries.map(([key, value]) => [evaluate(key, frame), evaluate(value, frame)]));
    case "condition":
      if (isTrue(evaluate(node.test, frame))) return evaluate(node.yes, frame);
      return node.no === undefined ? new Undefined("an if without else") : evaluate(node.no, frame);
    case "and": {
      const left = evaluate(node.left, frame);
      return isTrue(left) ? evaluate(node.right, frame) : left;
    }
    case "or": {
      const left = evaluate(node.left, frame);
      return isTrue(left) ? left : evaluate(node.right, frame);
    }
    case "not":
      return !isTrue(evaluate(node.value, frame));
    case "negative":
    case "positive":
      return signed(node.kind === "negative", evaluate(node.value, frame));
    case "binary":
      return binary(node.operator, evaluate(node.left, frame), evaluate(node.right, frame));
    case "compare": {
      let left = evaluate(node.first, frame);
      for (const { operator, value } of node.rest) {
        const right = evaluate(value, frame);
        if (!compare(operator, left, right)) return false;
        left = right;
      }
      return true;
    }
    case "concat": {
      const text = node.items.map((item) => textOf(evaluate(item, frame))).join("");
      spendOnText(text.length);
      return text;
    }
    case "attribute":
      return attributeOf(evaluate(node.value, frame), node.name);
    case "item":
      return itemOf(evaluate(node.value, frame), evaluate(node.key, frame));
    case "slice":
      return slice(
        evaluate(node.value, frame),
        node.bounds.map((bound) => (bound === undefined ? undefined : evaluate(bound, frame))),
      );
    case "call":
      return call(evaluate(node.callee, frame), argumentsOf(node.args, frame));
    case "filter": {
      const value = node.value === undefined ? blockText : evaluate(node.value, frame, blockText);
      if (typeof value === "string") spendOnText(value.length);
      return applyFilter(node.name, value, argumentsOf(node.args, frame));
    }
    case "test": {
      const value = evaluate(node.value, frame);
      return applyTest(node.name, value, argumentsOf(node.args, frame));
    }
  }
}

function readName(node: { name: string; slot: string; parameter: boolean }, frame: Frame): JinjaValue {
  const value = frame.get(node.slot);
  if (value !== undefined) return value;
  // jinja2 hands out its own marker there.
  if (node.parameter) throw new TemplateFault(`"${node.name}" is read outside of its scope`);
  return new Undefined(`"${node.name}"`);
}

function signed(negative: boolean, value: JinjaValue): JinjaValue {
  if (value instanceof Undefined) throw value.fail();
  const number = numberOf(value);
  if (number === undefined) throw new TemplateFault(`a ${typeName(value)} has no sign`);
  return negative ? -number : number;
}

/** @throws TemplateFault if the value is no function */
export function call(callee: JinjaValue, args: CallArguments): JinjaValue {
  if (callee instanceof Undefined) throw callee.fail();
  if (!(callee instanceof Callable)) throw new TemplateFault(`a ${typeName(callee)} is called`);
  return callee.call(args);
}

export function argumentsOf(node: Arguments, frame: Frame): CallArguments {
  const positional = node.positional.map((value) => evaluate(value, frame));
  const named = new Map<string, JinjaValue>();
  for (const [name, value] of node.named) named.set(name, evaluate(value, frame));
  if (node.spread !== undefined) {
    for (const value of listOf(evaluate(node.spread, frame))) positional.push(value);
  }
  if (node.spreadNamed !== undefined) {
    const dict = evaluate(node.spreadNamed, frame);
    if (!(dict instanceof Dict))
      throw new TemplateFault("named arguments come from something else than a dict");
    for (const [name, value] of dict.entries()) {
      if (typeof name !== "string" || named.has(name)) throw new TemplateFault("an argument is given twice");
      named.set(name, value);
    }
  }
  return { positional, named };
}
