/** A template as the parser reads it. What scopes.ts finds out about names is noted in the nodes. */
import type { JinjaValue } from "./values.ts";

export interface ConstNode {
  readonly kind: "const";
  readonly value: JinjaValue;
}

/** A name that is read, or that is assigned to (`store`), or a parameter. */
export interface NameNode {
  readonly kind: "name";
  readonly name: string;
  /** The variable that it stands for, by the rules of scopes.ts. */
  slot: string;
  /** Read without asking whether it has a value. */
  parameter: boolean;
}

/** `ns.attr` as the target of an assignment. */
export interface NamespaceTarget {
  readonly kind: "namespace-target";
  readonly name: string;
  readonly attribute: string;
  slot: string;
}

export interface TupleNode {
  readonly kind: "tuple";
  readonly items: readonly Expression[];
}

export interface Arguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  readonly spread: Expression | undefined;
  readonly spreadNamed: Expression | undefined;
}

export interface CallNode {
  readonly kind: "call";
  readonly callee: Expression;
  readonly args: Arguments;
}

export interface FilterNode {
  readonly kind: "filter";
  /** Undefined: the text of the block that it stands at. */
  readonly value: Expression | undefined;
  readonly name: string;
  readonly args: Arguments;
}

export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";
export type CompareOperator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

export type Expression =
  | ConstNode
  | NameNode
  | TupleNode
  | CallNode
  | FilterNode
  | { readonly kind: "list"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly entries: readonly (readonly [Expression, Expression])[] }
  | {
      readonly kind: "condition";
      readonly test: Expression;
      readonly yes: Expression;
      readonly no: Expression | undefined;
    }
  | {
      readonly kind: "binary";
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "not" | "negative" | "positive"; readonly value: Expression }
  | {
      readonly kind: "compare";
      readonly first: Expression;
      readonly rest: readonly { readonly operator: CompareOperator; readonly value: Expression }[];
    }
  | { readonly kind: "concat"; readonly items: readonly Expression[] }
  | { readonly kind: "attribute"; readonly value: Expression; readonly name: string }
  | { readonly kind: "item"; readonly value: Expression; readonly key: Expression }
  | {
      readonly kind: "slice";
      readonly value: Expression;
      readonly bounds: readonly (Expression | undefined)[];
    }
  | { readonly kind: "test"; readonly value: Expression; readonly name: string; readonly args: Arguments };

export type Target = NameNode | NamespaceTarget | TargetTuple;
export interface TargetTuple {
  readonly kind: "target-tuple";
  readonly items: readonly Target[];
}

/** What becomes of a scope's variables when it is entered (scopes.ts). */
export type Load =
  | { readonly from: "parameter" }
  | { readonly from: "context"; readonly name: string }
  | { readonly from: "outer"; readonly slot: string }
  | { readonly from: "nothing" };
export type Loads = ReadonlyMap<string, Load>;

/** A macro, or the body of a call block. */
export interface MacroBody {
  readonly parameters: readonly NameNode[];
  readonly defaults: readonly Expression[];
  readonly body: readonly Statement[];
  loads: Loads;
  /** Slots of caller, kwargs and varargs, where the body reads them. */
  caller: string | undefined;
  kwargs: string | undefined;
  varargs: string | undefined;
}

export interface ForNode {
  readonly kind: "for";
  readonly target: Target;
  readonly iterable: Expression;
  readonly test: Expression | undefined;
  readonly body: readonly Statement[];
  readonly otherwise: readonly Statement[];
  /** Undefined: the body does not read `loop`. */
  loopSlot: string | undefined;
  bodyLoads: Loads;
  testLoads: Loads;
  otherwiseLoads: Loads;
}

export interface IfNode {
  readonly kind: "if";
  readonly test: Expression;
  readonly body: readonly Statement[];
  readonly elifs: readonly IfNode[];
  readonly otherwise: readonly Statement[];
}

export interface MacroNode {
  readonly kind: "macro";
  readonly target: NameNode;
  readonly macro: MacroBody;
}

export interface CallBlockNode {
  readonly kind: "call-block";
  /** Undefined: a `generation` block, which gives its text as it is. */
  readonly call: CallNode | undefined;
  readonly macro: MacroBody;
}

export interface SetBlockNode {
  readonly kind: "set-block";
  readonly target: Target;
  readonly filter: FilterNode | undefined;
  readonly body: readonly Statement[];
  loads: Loads;
}

export interface FilterBlockNode {
  readonly kind: "filter-block";
  readonly filter: FilterNode;
  readonly body: readonly Statement[];
  loads: Loads;
}

export interface WithNode {
  readonly kind: "with";
  readonly targets: readonly Target[];
  readonly values: readonly Expression[];
  readonly body: readonly Statement[];
  loads: Loads;
}

export type Statement =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "output"; readonly value: Expression }
  | { readonly kind: "set"; readonly target: Target; readonly value: Expression }
  | { readonly kind: "break" | "continue" }
  | SetBlockNode
  | ForNode
  | IfNode
  | MacroNode
  | CallBlockNode
  | FilterBlockNode
  | WithNode;
