/** Expressions, with the precedence that jinja2 gives them (its own, not Python's: `-2 ** 2` is 4). */
import type { Arguments, BinaryOperator, CallNode, CompareOperator, Expression, FilterNode } from "./ast.ts";
import { TemplateFault } from "./errors.ts";
import type { TokenStream } from "./token-stream.ts";

/** One expression, or a tuple without parentheses. */
export function parseTuple(
  stream: TokenStream,
  { condition = true, endName = "", parentheses = false } = {},
): Expression {
  const items: Expression[] = [];
  let tuple = false;
  for (;;) {
    if (items.length > 0) stream.expect("operator", ",");
    if (endsTuple(stream) || (endName !== "" && stream.is("name", endName))) break;
    items.push(parseExpression(stream, condition));
    if (!stream.is("operator", ",")) break;
    tuple = true;
  }
  if (tuple || (items.length === 0 && parentheses)) return { kind: "tuple", items };
  if (items.length === 0) throw stream.unexpected();
  return items[0];
}

export function endsTuple(stream: TokenStream): boolean {
  const { type } = stream.current;
  return type === "variable_end" || type === "block_end" || stream.is("operator", ")");
}

export function parseExpression(stream: TokenStream, condition = true): Expression {
  return stream.nested(() => {
    let value = parseOr(stream);
    while (condition && stream.skipIf("name", "if")) {
      const test = parseOr(stream);
      const no = stream.skipIf("name", "else") ? parseExpression(stream) : undefined;
      value = { kind: "condition", test, yes: value, no };
    }
    return value;
  });
}

function parseOr(stream: TokenStream): Expression {
  let left = parseAnd(stream);
  while (stream.skipIf("name", "or")) left = { kind: "or", left, right: parseAnd(stream) };
  return left;
}

function parseAnd(stream: TokenStream): Expression {
  let left = parseNot(stream);
  while (stream.skipIf("name", "and")) left = { kind: "and", left, right: parseNot(stream) };
  return left;
}

function parseNot(stream: TokenStream): Expression {
  if (!stream.skipIf("name", "not")) return parseCompare(stream);
  return stream.nested(() => ({ kind: "not", value: parseNot(stream) }));
}

const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="] as const;

function parseCompare(stream: TokenStream): Expression {
  const first = parseSum(stream);
  const rest: { operator: CompareOperator; value: Expression }[] = [];
  for (;;) {
    const operator = COMPARISONS.find((text) => stream.is("operator", text));
    if (operator !== undefined) {
      stream.next();
      rest.push({ operator, value: parseSum(stream) });
    } else if (stream.skipIf("name", "in")) {
      rest.push({ operator: "in", value: parseSum(stream) });
    } else if (stream.is("name", "not") && stream.is("name", "in", 1)) {
      stream.next();
      stream.next();
      rest.push({ operator: "not in", value: parseSum(stream) });
    } else {
      return rest.length === 0 ? first : { kind: "compare", first, rest };
    }
  }
}

/** Left-associative operators of one precedence. */
function parseBinary(
  stream: TokenStream,
  operators: readonly BinaryOperator[],
  operand: (stream: TokenStream) => Expression,
): Expression {
  let left = operand(stream);
  for (;;) {
    const operator = operators.find((text) => stream.is("operator", text));
    if (operator === undefined) return left;
    stream.next();
    left = { kind: "binary", operator, left, right: operand(stream) };
  }
}

const parseSum = (stream: TokenStream): Expression => parseBinary(stream, ["+", "-"], parseConcat);

function parseConcat(stream: TokenStream): Expression {
  const items = [parseProduct(stream)];
  while (stream.skipIf("operator", "~")) items.push(parseProduct(stream));
  return items.length === 1 ? items[0] : { kind: "concat", items };
}

const parseProduct = (stream: TokenStream): Expression =>
  parseBinary(stream, ["*", "/", "//", "%"], parsePower);
const parsePower = (stream: TokenStream): Expression => parseBinary(stream, ["**"], parseUnary);

function parseUnary(stream: TokenStream): Expression {
  return parseFilters(stream, parseSigned(stream));
}

/** An operand without its filters: those of a signed one take it with its sign. */
function parseSigned(stream: TokenStream): Expression {
  const kind = stream.is("operator", "-") ? "negative" : stream.is("operator", "+") ? "positive" : undefined;
  if (kind === undefined) return parsePostfix(stream, parsePrimary(stream));
  stream.next();
  const value = stream.nested(() => parseSigned(stream));
  return parsePostfix(stream, { kind, value });
}

function parsePrimary(stream: TokenStream): Expression {
  const token = stream.current;
  switch (token.type) {
    case "name":
      stream.next();
      return nameOrConstant(token.text);
    case "string": {
      let value = "";
      for (let part = stream.current; part.type === "string"; part = stream.current) {
        value += part.text;
        stream.next();
      }
      return { kind: "const", value };
    }
    case "integer":
    case "float":
      stream.next();
      return { kind: "const", value: token.value };
    case "operator":
      if (stream.skipIf("operator", "(")) {
        const tuple = stream.nested(() => parseTuple(stream, { parentheses: true }));
        stream.expect("operator", ")");
        return tuple;
      }
      if (stream.skipIf("operator", "[")) {
        return { kind: "list", items: parseItems(stream, "]", () => parseExpression(stream)) };
      }
      if (stream.skipIf("operator", "{")) {
        const entry = (): readonly [Expression, Expression] => {
          const key = parseExpression(stream);
          stream.expect("operator", ":");
          return [key, parseExpression(stream)];
        };
        return { kind: "dict", entries: parseItems(stream, "}", entry) };
      }
  }
  throw stream.unexpected();
}

export function nameOrConstant(text: string): Expression {
  if (text === "true" || text === "True") return { kind: "const", value: true };
  if (text === "false" || text === "False") return { kind: "const", value: false };
  if (text === "none" || text === "None") return { kind: "const", value: null };
  return { kind: "name", name: text, slot: "", parameter: false };
}

/** Items with commas between them, and perhaps one behind the last, up to a bracket. */
function parseItems<T>(stream: TokenStream, end: string, item: () => T): T[] {
  const items: T[] = [];
  while (!stream.is("operator", end)) {
    if (items.length > 0) stream.expect("operator", ",");
    if (stream.is("operator", end)) break;
    items.push(item());
  }
  stream.expect("operator", end);
  return items;
}

function parsePostfix(stream: TokenStream, operand: Expression): Expression {
  let value = operand;
  for (;;) {
    if (stream.skipIf("operator", ".")) {
      const token = stream.next();
      if (token.type === "name") value = { kind: "attribute", value, name: token.text };
      else if (token.type === "integer")
        value = { kind: "item", value, key: { kind: "const", value: token.value } };
      else throw new TemplateFault("a dot has neither name nor number behind it");
    } else if (stream.skipIf("operator", "[")) {
      value = parseSubscript(stream, value);
    } else if (stream.is("operator", "(")) {
      value = parseCall(stream, value);
    } else {
      return value;
    }
  }
}

function parseCall(stream: TokenStream, callee: Expression): CallNode {
  return { kind: "call", callee, args: parseArguments(stream) };
}

function parseSubscript(stream: TokenStream, value: Expression): Expression {
  const keys: Expression[] = [];
  while (!stream.skipIf("operator", "]")) {
    if (keys.length > 0) stream.expect("operator", ",");
    const key = stream.is("operator", ":") ? undefined : parseExpression(stream);
    if (key !== undefined && !stream.is("operator", ":")) {
      keys.push(key);
      continue;
    }
    if (keys.length > 0) throw new TemplateFault("slices of several dimensions are not supported");
    const bounds = [key];
    while (bounds.length < 3 && stream.skipIf("operator", ":")) {
      const none = stream.is("operator", "]") || stream.is("operator", ":");
      bounds.push(none ? undefined : parseExpression(stream));
    }
    stream.expect("operator", "]");
    return { kind: "slice", value, bounds };
  }
  const key: Expression = keys.length === 1 ? keys[0] : { kind: "tuple", items: keys };
  return { kind: "item", value, key };
}

/** With its parentheses. */
export function parseArguments(stream: TokenStream): Arguments {
  stream.expect("operator", "(");
  const positional: Expression[] = [];
  const named: [string, Expression][] = [];
  let spread: Expression | undefined;
  let spreadNamed: Expression | undefined;
  const check = (fine: boolean): void => {
    if (!fine) throw new TemplateFault("the arguments of a call are in the wrong order");
  };
  parseItems(stream, ")", () => {
    if (stream.skipIf("operator", "*")) {
      check(spread === undefined && spreadNamed === undefined);
      spread = parseExpression(stream);
    } else if (stream.skipIf("operator", "**")) {
      check(spreadNamed === undefined);
      spreadNamed = parseExpression(stream);
    } else if (stream.current.type === "name" && stream.is("operator", "=", 1)) {
      check(spreadNamed === undefined);
      const name = stream.expectName();
      stream.next();
      if (named.some(([other]) => other === name))
        throw new TemplateFault(`the argument ${name} is given twice`);
      named.push([name, parseExpression(stream)]);
    } else {
      check(spread === undefined && spreadNamed === undefined && named.length === 0);
      positional.push(parseExpression(stream));
    }
  });
  return { positional, named, spread, spreadNamed };
}

const NO_ARGUMENTS: Arguments = { positional: [], named: [], spread: undefined, spreadNamed: undefined };

/** Filters, tests and calls behind an operand. */
function parseFilters(stream: TokenStream, operand: Expression): Expression {
  let value = operand;
  for (;;) {
    if (stream.skipIf("operator", "|")) value = parseFilter(stream, value);
    else if (stream.skipIf("name", "is")) value = parseTest(stream, value);
    else if (stream.is("operator", "(")) value = parseCall(stream, value);
    else return value;
  }
}

/** Behind its bar. @param value undefined: the filter of a block */
export function parseFilter(stream: TokenStream, value: Expression | undefined): FilterNode {
  const name = dottedName(stream);
  const args = stream.is("operator", "(") ? parseArguments(stream) : NO_ARGUMENTS;
  return { kind: "filter", value, name, args };
}

function parseTest(stream: TokenStream, value: Expression): Expression {
  const negated = stream.skipIf("name", "not");
  const name = dottedName(stream);
  let args = NO_ARGUMENTS;
  if (stream.is("operator", "(")) {
    args = parseArguments(stream);
  } else if (beginsArgument(stream)) {
    args = { ...NO_ARGUMENTS, positional: [parsePostfix(stream, parsePrimary(stream))] };
  }
  const test: Expression = { kind: "test", value, name, args };
  return negated ? { kind: "not", value: test } : test;
}

function dottedName(stream: TokenStream): string {
  let name = stream.expectName();
  while (stream.skipIf("operator", ".")) name += `.${stream.expectName()}`;
  return name;
}

/** Whether what is behind a test's name is its argument, without parentheses. */
function beginsArgument(stream: TokenStream): boolean {
  const token = stream.current;
  if (token.type === "operator") return token.text === "[" || token.text === "{";
  if (token.type !== "name") return ["string", "integer", "float"].includes(token.type);
  if (token.text === "is") throw new TemplateFault("a test stands directly behind a test");
  return !["else", "or", "and"].includes(token.text);
}
