/** Runs statements, and collects what they print. */
import type { CallBlockNode, ForNode, IfNode, MacroBody, Statement, Target } from "./ast.ts";
import { spend, spendOnText } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { argumentsOf, call, evaluate } from "./evaluate.ts";
import type { Frame } from "./frame.ts";
import { Loop } from "./loop.ts";
import { equal } from "./operators.ts";
import { textOf } from "./text.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  isTrue,
  iteratorOf,
  lengthOf,
  listOf,
  Namespace,
  Tuple,
  typeName,
  Undefined,
  type JinjaValue,
} from "./values.ts";

/** Calls of macros within each other. */
const MAX_CALLS = 100;
let calls = 0;

/** Undefined: went to its end. */
type Exit = "break" | "continue" | undefined;

export function run(body: readonly Statement[], frame: Frame): string {
  const output: string[] = [];
  runAll(body, frame, output);
  return output.join("");
}

function print(text: string, output: string[]): void {
  spendOnText(text.length * 2);
  output.push(text);
}

function runAll(body: readonly Statement[], frame: Frame, output: string[]): Exit {
  for (const statement of body) {
    const exit = runStatement(statement, frame, output);
    if (exit !== undefined) return exit;
  }
  return undefined;
}

function runStatement(node: Statement, frame: Frame, output: string[]): Exit {
  spend(1);
  switch (node.kind) {
    case "text":
      print(node.text, output);
      return undefined;
    case "output":
      print(textOf(evaluate(node.value, frame)), output);
      return undefined;
    case "set":
      checkTarget(node.target, frame);
      assign(node.target, evaluate(node.value, frame), frame);
      return undefined;
    case "if":
      return runIf(node, frame, output);
    case "for":
      return runFor(node, frame, output);
    case "break":
    case "continue":
      return node.kind;
    case "macro":
      frame.set(node.target.slot, macroOf(node.target.name, node.macro, frame));
      return undefined;
    case "call-block":
      print(textOf(runCallBlock(node, frame)), output);
      return undefined;
    case "set-block": {
      frame.enter(node.loads);
      const block: string[] = [];
      const exit = runAll(node.body, frame, block);
      if (exit !== undefined) return exit;
      const text = block.join("");
      checkTarget(node.target, frame);
      assign(node.target, node.filter === undefined ? text : evaluate(node.filter, frame, text), frame);
      frame.leave(node.loads);
      return undefined;
    }
    case "filter-block": {
      frame.enter(node.loads);
      const block: string[] = [];
      const exit = runAll(node.body, frame, block);
      if (exit !== undefined) return exit;
      print(textOf(evaluate(node.filter, frame, block.join(""))), output);
      frame.leave(node.loads);
      return undefined;
    }
    case "with": {
      frame.enter(node.loads);
      for (const [i, target] of node.targets.entries())
        assign(target, evaluate(node.values[i], frame), frame);
      const exit = runAll(node.body, frame, output);
      if (exit === undefined) frame.leave(node.loads);
      return exit;
    }
  }
}

function runIf(node: IfNode, frame: Frame, output: string[]): Exit {
  for (const branch of [node, ...node.elifs]) {
    if (isTrue(evaluate(branch.test, frame))) return runAll(branch.body, frame, output);
  }
  return runAll(node.otherwise, frame, output);
}

function runFor(node: ForNode, frame: Frame, output: string[]): Exit {
  const source = evaluate(node.iterable, frame);
  const filtered = node.test !== undefined;
  const iterator = filtered ? filter(node, iteratorOf(source), frame) : iteratorOf(source);
  const length = filtered ? undefined : lengthOf(source);
  const loop = node.loopSlot === undefined ? undefined : new Loop(iterator, length, sameValues);
  // A round that `continue` or `break` cuts short does not count as one: then the else branch follows.
  let empty = true;
  for (;;) {
    const next = loop === undefined ? iterator.next() : loop.next();
    if (next.done) break;
    spend(1);
    assign(node.target, next.value, frame);
    if (node.loopSlot !== undefined) frame.set(node.loopSlot, loop);
    frame.enter(node.bodyLoads);
    const exit = runAll(node.body, frame, output);
    if (exit === "break") break;
    if (exit === undefined) empty = false;
  }
  frame.leave(node.bodyLoads);
  if (!empty) return undefined;
  frame.enter(node.otherwiseLoads);
  const exit = runAll(node.otherwise, frame, output);
  if (exit === undefined) frame.leave(node.otherwiseLoads);
  return exit;
}

/** The elements for which the loop's condition holds, in a separate frame. */
function* filter(node: ForNode, iterator: Iterator<JinjaValue>, outer: Frame): Generator<JinjaValue> {
  const frame = outer.inner();
  frame.enter(node.testLoads);
  for (let next = iterator.next(); !next.done; next = iterator.next()) {
    assign(node.target, next.value, frame);
    if (isTrue(evaluate(node.test!, frame))) yield next.value;
  }
}

function sameValues(a: readonly JinjaValue[], b: readonly JinjaValue[]): boolean {
  return equal(new Tuple(a), new Tuple(b));
}

/** jinja2 looks at the namespaces of a target before it evaluates the value. */
function checkTarget(target: Target, frame: Frame): void {
  if (target.kind === "target-tuple") for (const item of target.items) checkTarget(item, frame);
  else if (target.kind === "namespace-target" && !(frame.get(target.slot) instanceof Namespace)) {
    throw new TemplateFault(`"${target.name}" is no namespace`);
  }
}

function assign(target: Target, value: JinjaValue, frame: Frame): void {
  if (target.kind === "name") {
    frame.set(target.slot, value);
  } else if (target.kind === "namespace-target") {
    (frame.get(target.slot) as Namespace).values.set(target.attribute, value);
  } else {
    const items = listOf(value);
    if (items.length !== target.items.length) {
      throw new TemplateFault(
        `a ${typeName(value)} of ${items.length} is assigned to ${target.items.length} names`,
      );
    }
    for (const [i, item] of target.items.entries()) assign(item, items[i], frame);
  }
}

function runCallBlock(node: CallBlockNode, frame: Frame): JinjaValue {
  const caller = macroOf("caller", node.macro, frame);
  if (node.call === undefined) return call(caller, { positional: [], named: new Map() });
  const callee = evaluate(node.call.callee, frame);
  const { positional, named } = argumentsOf(node.call.args, frame);
  if (named.has("caller")) throw new TemplateFault(`the argument "caller" is given twice`);
  return call(callee, { positional, named: new Map([...named, ["caller", caller]]) });
}

function macroOf(name: string, macro: MacroBody, definedIn: Frame): Callable {
  return new Callable(name, (args) => {
    if (calls >= MAX_CALLS) throw new TemplateFault("macros call each other too deeply");
    calls += 1;
    try {
      const frame = definedIn.inner();
      bindMacro(name, macro, args, frame);
      return run(macro.body, frame);
    } finally {
      calls -= 1;
    }
  });
}

function bindMacro(name: string, macro: MacroBody, { positional, named }: CallArguments, frame: Frame): void {
  const { parameters, defaults } = macro;
  const left = new Map(named);
  const take = (key: string): JinjaValue | undefined => {
    const value = left.get(key);
    left.delete(key);
    return value;
  };
  const given = parameters.map(
    (parameter, i) => positional[i] ?? (i < positional.length ? null : take(parameter.name)),
  );
  for (const [i, parameter] of parameters.entries()) frame.set(parameter.slot, given[i]);
  if (macro.caller !== undefined) frame.set(macro.caller, take("caller") ?? new Undefined(`"caller"`));
  if (macro.kwargs !== undefined) frame.set(macro.kwargs, new Dict(left));
  else if (left.size > 0)
    throw new TemplateFault(`the macro "${name}" is given an argument that it does not have`);
  if (macro.varargs !== undefined) frame.set(macro.varargs, new Tuple(positional.slice(parameters.length)));
  else if (positional.length > parameters.length) {
    throw new TemplateFault(`the macro "${name}" is given too many arguments`);
  }
  frame.enter(macro.loads);
  const required = parameters.length - defaults.length;
  for (const [i, { name: parameter, slot }] of parameters.entries()) {
    if (given[i] !== undefined) continue;
    frame.set(
      slot,
      i < required ? new Undefined(`the parameter "${parameter}"`) : evaluate(defaults[i - required], frame),
    );
  }
}
