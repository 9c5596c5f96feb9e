/** Statements: what is in a template besides its text. */
import type {
  CallBlockNode,
  Expression,
  FilterNode,
  ForNode,
  IfNode,
  MacroBody,
  NameNode,
  Statement,
  Target,
  WithNode,
} from "./ast.ts";
import { TemplateFault } from "./errors.ts";
import { tokenize } from "./lexer.ts";
import { endsTuple, nameOrConstant, parseExpression, parseFilter, parseTuple } from "./parse-expression.ts";
import { describe, TokenStream } from "./token-stream.ts";

const NOTHING = new Map();

/** @throws TemplateFault */
export function parseTemplate(source: string): Statement[] {
  const stream = new TokenStream(tokenize(source));
  const body = parseBody(stream, []);
  if (stream.current.type !== "end") throw stream.unexpected();
  return body;
}

/** Up to a tag with one of the names, of which the name is the current token then. */
function parseBody(stream: TokenStream, ends: readonly string[]): Statement[] {
  const body: Statement[] = [];
  for (;;) {
    const token = stream.current;
    if (token.type === "data") {
      body.push({ kind: "text", text: token.text });
      stream.next();
    } else if (token.type === "variable_begin") {
      stream.next();
      body.push({ kind: "output", value: parseTuple(stream) });
      stream.expect("variable_end");
    } else if (token.type === "block_begin") {
      stream.next();
      if (ends.some((name) => stream.is("name", name))) return body;
      body.push(...stream.nested(() => parseStatement(stream)));
      stream.expect("block_end");
    } else {
      if (ends.length > 0) throw new TemplateFault(`a tag "${ends.at(-1)}" is missing`);
      return body;
    }
  }
}

/** A tag's end, its body, and the name of the tag that ends that. */
function parseBlock(stream: TokenStream, ...ends: string[]): { body: Statement[]; end: string } {
  stream.skipIf("operator", ":");
  stream.expect("block_end");
  const body = parseBody(stream, ends);
  return { body, end: stream.expectName() };
}

function parseStatement(stream: TokenStream): Statement[] {
  const name = stream.current.type === "name" ? stream.current.text : describe(stream.current);
  const parse = STATEMENTS[name];
  if (parse === undefined) throw new TemplateFault(`the tag ${JSON.stringify(name)} is not supported`);
  stream.next();
  return parse(stream);
}

const STATEMENTS: Record<string, (stream: TokenStream) => Statement[]> = {
  __proto__: null as never,
  set: (stream) => [parseSet(stream)],
  for: (stream) => [parseFor(stream)],
  if: (stream) => [parseIf(stream)],
  macro: (stream) => {
    const target = parseName(stream);
    return [{ kind: "macro", target, macro: parseMacro(stream, parseSignature(stream), "endmacro") }];
  },
  call: (stream) => [parseCallBlock(stream)],
  // What transformers marks the model's own words with; the text is the same.
  generation: (stream) => [
    { kind: "call-block", call: undefined, macro: parseMacro(stream, NO_PARAMETERS, "endgeneration") },
  ],
  filter: (stream) => {
    let filter = parseFilter(stream, undefined);
    while (stream.skipIf("operator", "|")) filter = parseFilter(stream, filter);
    return [{ kind: "filter-block", filter, body: parseBlock(stream, "endfilter").body, loads: NOTHING }];
  },
  with: (stream) => [parseWith(stream)],
  print: (stream) => {
    const outputs: Statement[] = [];
    while (stream.current.type !== "block_end") {
      if (outputs.length > 0) stream.expect("operator", ",");
      outputs.push({ kind: "output", value: parseExpression(stream) });
    }
    return outputs;
  },
  break: () => [{ kind: "break" }],
  continue: () => [{ kind: "continue" }],
};

function parseSet(stream: TokenStream): Statement {
  const target = parseTarget(stream, { namespaces: true });
  if (stream.skipIf("operator", "=")) return { kind: "set", target, value: parseTuple(stream) };
  let filter: FilterNode | undefined;
  while (stream.skipIf("operator", "|")) filter = parseFilter(stream, filter);
  return { kind: "set-block", target, filter, body: parseBlock(stream, "endset").body, loads: NOTHING };
}

function parseFor(stream: TokenStream): ForNode {
  const target = parseTarget(stream, { endName: "in" });
  stream.expect("name", "in");
  const iterable = parseTuple(stream, { condition: false, endName: "recursive" });
  const test = stream.skipIf("name", "if") ? parseExpression(stream) : undefined;
  if (stream.is("name", "recursive")) throw new TemplateFault("recursive loops are not supported");
  const { body, end } = parseBlock(stream, "else", "endfor");
  const otherwise = end === "else" ? parseBlock(stream, "endfor").body : [];
  return {
    kind: "for",
    target,
    iterable,
    test,
    body,
    otherwise,
    loopSlot: undefined,
    bodyLoads: NOTHING,
    testLoads: NOTHING,
    otherwiseLoads: NOTHING,
  };
}

function parseIf(stream: TokenStream): IfNode {
  const branch = (): { test: Expression; body: Statement[]; end: string } => {
    const test = parseTuple(stream, { condition: false });
    return { test, ...parseBlock(stream, "elif", "else", "endif") };
  };
  const first = branch();
  const elifs: IfNode[] = [];
  let end = first.end;
  while (end === "elif") {
    const { test, body, end: next } = branch();
    elifs.push({ kind: "if", test, body, elifs: [], otherwise: [] });
    end = next;
  }
  const otherwise = end === "else" ? parseBlock(stream, "endif").body : [];
  return { kind: "if", test: first.test, body: first.body, elifs, otherwise };
}

function parseWith(stream: TokenStream): WithNode {
  const targets: Target[] = [];
  const values: Expression[] = [];
  while (stream.current.type !== "block_end") {
    if (targets.length > 0) stream.expect("operator", ",");
    targets.push(parseTarget(stream, {}));
    stream.expect("operator", "=");
    values.push(parseExpression(stream));
  }
  return { kind: "with", targets, values, body: parseBlock(stream, "endwith").body, loads: NOTHING };
}

type Signature = Pick<MacroBody, "parameters" | "defaults">;
const NO_PARAMETERS: Signature = { parameters: [], defaults: [] };

function parseSignature(stream: TokenStream): Signature {
  const parameters: NameNode[] = [];
  const defaults: Expression[] = [];
  stream.expect("operator", "(");
  while (!stream.is("operator", ")")) {
    if (parameters.length > 0) stream.expect("operator", ",");
    const parameter = parseName(stream);
    if (parameters.some(({ name }) => name === parameter.name)) {
      throw new TemplateFault(`a macro has the parameter ${parameter.name} twice`);
    }
    parameters.push(parameter);
    if (stream.skipIf("operator", "=")) defaults.push(parseExpression(stream));
    else if (defaults.length > 0) {
      throw new TemplateFault("a macro has a parameter without default behind one that has it");
    }
  }
  stream.next();
  return { parameters, defaults };
}

function parseMacro(stream: TokenStream, signature: Signature, end: string): MacroBody {
  const { body } = parseBlock(stream, end);
  return { ...signature, body, loads: NOTHING, caller: undefined, kwargs: undefined, varargs: undefined };
}

function parseCallBlock(stream: TokenStream): CallBlockNode {
  const signature = stream.is("operator", "(") ? parseSignature(stream) : NO_PARAMETERS;
  const call = parseExpression(stream);
  if (call.kind !== "call") throw new TemplateFault("a call block calls nothing");
  return { kind: "call-block", call, macro: parseMacro(stream, signature, "endcall") };
}

function parseName(stream: TokenStream): NameNode {
  const node = nameOrConstant(stream.expectName());
  if (node.kind !== "name") throw new TemplateFault("a constant is assigned to");
  return node;
}

/** A name, names with commas between them, or an attribute of a namespace. */
function parseTarget(stream: TokenStream, { namespaces = false, endName = "" }): Target {
  const items: Target[] = [];
  let tuple = false;
  for (;;) {
    if (items.length > 0) stream.expect("operator", ",");
    if (endsTuple(stream) || (endName !== "" && stream.is("name", endName))) break;
    items.push(parseTargetItem(stream, namespaces));
    if (!stream.is("operator", ",")) break;
    tuple = true;
  }
  if (items.length === 0) throw stream.unexpected();
  return tuple ? { kind: "target-tuple", items } : items[0];
}

function parseTargetItem(stream: TokenStream, namespaces: boolean): Target {
  if (stream.skipIf("operator", "(")) {
    const target = stream.nested(() => parseTarget(stream, {}));
    stream.expect("operator", ")");
    return target;
  }
  const target = parseName(stream);
  if (!namespaces || !stream.skipIf("operator", ".")) return target;
  return { kind: "namespace-target", name: target.name, attribute: stream.expectName(), slot: "" };
}
