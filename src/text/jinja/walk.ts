/** Ways through the tree: the expressions in one, and the names that statements use, in jinja2's order. */
import type { Arguments, Expression, MacroBody, Statement, Target } from "./ast.ts";

export function eachName(root: Expression, see: (name: string) => void): void {
  visit(root, false, (node) => {
    if (node.kind === "name") see(node.name);
  });
}

/** Calls back for an expression and all in it; `branch`: whether it is evaluated only in some cases. */
export function visit(
  node: Expression,
  branch: boolean,
  see: (node: Expression, branch: boolean) => void,
): void {
  see(node, branch);
  const into = (...parts: readonly (Expression | undefined)[]): void => {
    for (const part of parts) if (part !== undefined) visit(part, branch || node.kind === "condition", see);
  };
  const intoArguments = ({ positional, named, spread, spreadNamed }: Arguments): void =>
    into(...positional, ...named.map(([, value]) => value), spread, spreadNamed);
  switch (node.kind) {
    case "const":
    case "name":
      return;
    case "tuple":
    case "list":
    case "concat":
      into(...node.items);
      break;
    case "dict":
      into(...node.entries.flat());
      break;
    case "condition":
      into(node.test, node.yes, node.no);
      break;
    case "binary":
    case "and":
    case "or":
      into(node.left, node.right);
      break;
    case "not":
    case "negative":
    case "positive":
    case "attribute":
      into(node.value);
      break;
    case "compare":
      into(node.first, ...node.rest.map(({ value }) => value));
      break;
    case "item":
      into(node.value, node.key);
      break;
    case "slice":
      into(node.value, ...node.bounds);
      break;
    case "call":
      into(node.callee);
      intoArguments(node.args);
      break;
    case "filter":
    case "test":
      into(node.value);
      intoArguments(node.args);
      break;
  }
}

/**
 * Whether a body, with the scopes in it, reads a name before anything in it assigns it, in the order of the tree.
 */
export function readsUndeclared(body: readonly Statement[], name: string): boolean {
  let found: boolean | undefined;
  eachUse(body, (used, stored) => {
    if (used === name) found ??= !stored;
  });
  return found === true;
}

export function storesName(body: readonly Statement[], name: string): boolean {
  let stores = false;
  eachUse(body, (used, stored) => {
    stores ||= stored && used === name;
  });
  return stores;
}

/** Every name in statements, in jinja2's order of a node's parts. */
function eachUse(body: readonly Statement[], see: (name: string, stored: boolean) => void): void {
  const read = (expression: Expression | undefined): void => {
    if (expression !== undefined) eachName(expression, (name) => see(name, false));
  };
  const target = (node: Target): void => {
    if (node.kind === "target-tuple") node.items.forEach(target);
    else if (node.kind === "name") see(node.name, true);
  };
  const macro = ({ parameters, defaults, body: inside }: MacroBody): void => {
    parameters.forEach(target);
    defaults.forEach(read);
    eachUse(inside, see);
  };
  for (const node of body) {
    switch (node.kind) {
      case "output":
        read(node.value);
        break;
      case "set":
        target(node.target);
        read(node.value);
        break;
      case "set-block":
        target(node.target);
        read(node.filter);
        eachUse(node.body, see);
        break;
      case "for":
        target(node.target);
        read(node.iterable);
        eachUse(node.body, see);
        eachUse(node.otherwise, see);
        read(node.test);
        break;
      case "if":
        read(node.test);
        eachUse(node.body, see);
        eachUse(node.elifs, see);
        eachUse(node.otherwise, see);
        break;
      case "macro":
        macro(node.macro);
        break;
      case "call-block":
        read(node.call);
        macro(node.macro);
        break;
      case "filter-block":
        eachUse(node.body, see);
        read(node.filter);
        break;
      case "with":
        node.targets.forEach(target);
        node.values.forEach(read);
        eachUse(node.body, see);
    }
  }
}
