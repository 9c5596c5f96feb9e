/**
 * Which variable a name stands for. jinja2 settles that before a template runs, scope by scope (its idtracking.py and
 * compiler.py), with results that a look-up at run time does not have: a name that a scope assigns before it reads it
 * is not looked up in the context, an `if` opens no scope, a macro sees the later values of the scopes around it.
 *
 * Here the same is found out, and noted in the tree: for each name a slot, and for each scope what its slots hold when
 * it is entered.
 */
import type { Expression, ForNode, Load, MacroBody, Statement, Target } from "./ast.ts";
import { spend } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { FILTER_NAMES, TEST_NAMES } from "./names.ts";
import { eachName, readsUndeclared, storesName, visit } from "./walk.ts";

class Scope {
  readonly level: number;
  readonly parent: Scope | undefined;
  readonly slots: Map<string, string>;
  readonly loads: Map<string, Load>;
  readonly stores: Set<string>;

  constructor(parent?: Scope, copied?: Scope) {
    this.parent = parent;
    this.level = copied?.level ?? (parent === undefined ? 0 : parent.level + 1);
    this.slots = new Map(copied?.slots);
    this.loads = new Map(copied?.loads);
    this.stores = new Set(copied?.stores);
    spend(this.slots.size + this.loads.size + this.stores.size);
  }

  copy(): Scope {
    return new Scope(this.parent, this);
  }

  find(name: string): string | undefined {
    return this.slots.get(name) ?? this.parent?.find(name);
  }

  findLoad(slot: string): Load | undefined {
    return this.loads.get(slot) ?? this.parent?.findLoad(slot);
  }

  read(name: string): void {
    if (this.find(name) === undefined) this.#define(name, { from: "context", name });
  }

  store(name: string): void {
    this.stores.add(name);
    if (this.slots.has(name)) return;
    const slot = this.parent?.find(name);
    this.#define(name, slot === undefined ? { from: "nothing" } : { from: "outer", slot });
  }

  parameter(name: string): string {
    this.stores.add(name);
    return this.#define(name, { from: "parameter" });
  }

  /** What the branches of an `if` have in them; a name that not all of them assign keeps its outer value. */
  merge(branches: readonly Scope[]): void {
    const stored = new Set(branches.flatMap(({ stores }) => [...stores]));
    for (const name of this.stores) stored.delete(name);
    for (const branch of branches) {
      for (const [name, slot] of branch.slots) this.slots.set(name, slot);
      for (const [slot, load] of branch.loads) this.loads.set(slot, load);
      for (const name of branch.stores) this.stores.add(name);
    }
    for (const name of stored) {
      const outer = this.parent?.find(name);
      this.loads.set(
        this.find(name)!,
        outer === undefined ? { from: "context", name } : { from: "outer", slot: outer },
      );
    }
  }

  #define(name: string, load: Load): string {
    const slot = `${this.level} ${name}`;
    this.slots.set(name, slot);
    this.loads.set(slot, load);
    return slot;
  }
}

/** Where a part of the template stands. */
interface Position {
  readonly scope: Scope;
  /** In a branch of an `if` of the same scope: an unknown filter is an error only when it is used. */
  readonly branch: boolean;
  readonly loop: boolean;
}

/**
 * Notes slots and loads in the tree.
 * @returns what the outermost scope begins with, and the names that the template reads from its context
 */
export function resolveNames(body: readonly Statement[]): { loads: Scope["loads"]; reads: Set<string> } {
  const names = new Set<string>();
  const scope = new Scope();
  declareAll(scope, body);
  resolveAll(body, { scope, branch: false, loop: false }, names);
  collect(scope.loads, names);
  if (names.has("self")) throw new TemplateFault(`"self" is not supported`);
  return { loads: scope.loads, reads: names };
}

function collect(loads: Scope["loads"], names: Set<string>): void {
  for (const load of loads.values()) if (load.from === "context") names.add(load.name);
}

/** What statements do to the names of their scope; the scopes inside are left alone. */
function declareAll(scope: Scope, body: readonly Statement[]): void {
  for (const statement of body) declare(scope, statement);
}

function declare(scope: Scope, node: Statement): void {
  const read = (expression: Expression | undefined): void => {
    if (expression !== undefined) eachName(expression, (name) => scope.read(name));
  };
  switch (node.kind) {
    case "output":
      read(node.value);
      break;
    case "set":
      read(node.value);
      declareTarget(scope, node.target);
      break;
    case "set-block":
      declareTarget(scope, node.target);
      break;
    case "for":
      read(node.iterable);
      break;
    case "if": {
      read(node.test);
      const branches = [node.body, node.elifs, node.otherwise].map((part) => {
        const branch = scope.copy();
        declareAll(branch, part);
        return branch;
      });
      scope.merge(branches);
      break;
    }
    case "macro":
      scope.store(node.target.name);
      break;
    case "call-block":
      read(node.call);
      break;
    case "filter-block":
      read(node.filter);
      break;
    case "with":
      for (const value of node.values) read(value);
  }
}

function declareTarget(scope: Scope, target: Target, parameter = false): void {
  if (target.kind === "target-tuple") {
    for (const item of target.items) declareTarget(scope, item, parameter);
  } else if (target.kind === "namespace-target") {
    scope.read(target.name);
  } else if (parameter) {
    scope.parameter(target.name);
  } else {
    scope.store(target.name);
  }
}

function resolveAll(body: readonly Statement[], place: Position, names: Set<string>): void {
  for (const statement of body) resolve(statement, place, names);
}

/** A scope inside, with what its body does to its names. */
function inner(place: Position, declared: (scope: Scope) => void): Position {
  const scope = new Scope(place.scope);
  declared(scope);
  return { scope, branch: false, loop: place.loop };
}

function resolve(node: Statement, place: Position, names: Set<string>): void {
  switch (node.kind) {
    case "output":
      resolveExpression(node.value, place);
      break;
    case "set":
      resolveExpression(node.value, place);
      resolveTarget(node.target, place.scope);
      break;
    case "set-block": {
      const block = inner(place, (scope) => declareAll(scope, node.body));
      resolveAll(node.body, block, names);
      if (node.filter !== undefined) {
        // Its names belong to the block, which jinja2 does not look through for them.
        eachName(node.filter, (name) => {
          if (block.scope.find(name) === undefined)
            throw new TemplateFault(`the filter of a set block reads "${name}"`);
        });
        resolveExpression(node.filter, block);
      }
      node.loads = block.scope.loads;
      collect(node.loads as Scope["loads"], names);
      resolveTarget(node.target, place.scope);
      break;
    }
    case "for":
      resolveFor(node, place, names);
      break;
    case "if": {
      const branch = { ...place, scope: place.scope.copy(), branch: true };
      resolveExpression(node.test, branch);
      resolveAll(node.body, branch, names);
      for (const elif of node.elifs) {
        resolveExpression(elif.test, branch);
        resolveAll(elif.body, branch, names);
      }
      resolveAll(node.otherwise, branch, names);
      break;
    }
    case "macro":
      resolveMacro(node.macro, place, names);
      resolveTarget(node.target, place.scope);
      break;
    case "call-block":
      resolveMacro(node.macro, place, names);
      if (node.call !== undefined) resolveExpression(node.call, place);
      return;
    case "filter-block": {
      const block = inner(place, (scope) => {
        declareAll(scope, node.body);
        eachName(node.filter, (name) => scope.read(name));
      });
      resolveAll(node.body, block, names);
      resolveExpression(node.filter, block);
      node.loads = block.scope.loads;
      collect(block.scope.loads, names);
      break;
    }
    case "with": {
      const block = inner(place, (scope) => {
        for (const target of node.targets) declareTarget(scope, target, true);
        declareAll(scope, node.body);
      });
      for (const value of node.values) resolveExpression(value, place);
      for (const target of node.targets) resolveTarget(target, block.scope);
      resolveAll(node.body, block, names);
      node.loads = block.scope.loads;
      collect(block.scope.loads, names);
      break;
    }
    case "break":
    case "continue":
      if (!place.loop) throw new TemplateFault(`a tag "${node.kind}" stands outside of a loop`);
  }
}

function resolveFor(node: ForNode, place: Position, names: Set<string>): void {
  const readsLoop = readsUndeclared(node.body, "loop");
  const body = inner(place, (scope) => {
    if (readsLoop) node.loopSlot = scope.parameter("loop");
    declareTarget(scope, node.target, true);
    declareAll(scope, node.body);
  });
  if (storesName([node], "loop")) throw new TemplateFault(`"loop" is assigned to in a loop`);
  const otherwise = inner(place, (scope) => declareAll(scope, node.otherwise));
  if (node.test !== undefined) {
    const { test: condition } = node;
    const test = inner(place, (scope) => {
      declareTarget(scope, node.target, true);
      eachName(condition, (name) => scope.read(name));
    });
    resolveExpression(condition, test);
    node.testLoads = test.scope.loads;
    collect(test.scope.loads, names);
  }
  resolveTarget(node.target, body.scope);
  resolveExpression(node.iterable, place);
  resolveAll(node.body, { ...body, loop: true }, names);
  resolveAll(node.otherwise, otherwise, names);
  node.bodyLoads = body.scope.loads;
  node.otherwiseLoads = otherwise.scope.loads;
  collect(body.scope.loads, names);
  collect(otherwise.scope.loads, names);
}

function resolveMacro(macro: MacroBody, place: Position, names: Set<string>): void {
  const body = inner(place, (scope) => {
    for (const { name } of macro.parameters) scope.parameter(name);
    for (const value of macro.defaults) eachName(value, (name) => scope.read(name));
    declareAll(scope, macro.body);
    const own = new Set(macro.parameters.map(({ name }) => name));
    for (const name of ["caller", "kwargs", "varargs"] as const) {
      if (!readsUndeclared(macro.body, name)) continue;
      if (own.has(name)) throw new TemplateFault(`a macro has a parameter "${name}", which is not supported`);
      macro[name] = scope.parameter(name);
    }
  });
  const outside = { ...body, loop: false };
  for (const parameter of macro.parameters) resolveTarget(parameter, body.scope);
  for (const value of macro.defaults) resolveExpression(value, outside, false);
  resolveAll(macro.body, outside, names);
  macro.loads = body.scope.loads;
  collect(body.scope.loads, names);
}

function resolveTarget(target: Target, scope: Scope): void {
  if (target.kind === "target-tuple") for (const item of target.items) resolveTarget(item, scope);
  else target.slot = scope.find(target.name)!;
}

/** @param parameters false: parameters may have no value yet, as in the defaults of the others */
function resolveExpression(root: Expression, place: Position, parameters = true): void {
  visit(root, place.branch, (node, branch) => {
    if (node.kind === "name") {
      node.slot = place.scope.find(node.name)!;
      node.parameter = parameters && place.scope.findLoad(node.slot)?.from === "parameter";
    } else if (node.kind === "filter" && !branch && !FILTER_NAMES.has(node.name)) {
      throw new TemplateFault(`there is no filter "${node.name}"`);
    } else if (node.kind === "test" && !branch && !TEST_NAMES.has(node.name)) {
      throw new TemplateFault(`there is no test "${node.name}"`);
    }
  });
}
