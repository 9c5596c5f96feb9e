/** The functions that every template has: jinja2's, and the two that transformers adds. */
import { bind, intArgument, positionals, textArgument } from "./arguments.ts";
import { TemplateFault, TemplateRefusal } from "./errors.ts";
import { strftime } from "./strftime.ts";
import { textOf } from "./text.ts";
import {
  type CallArguments,
  Callable,
  Dict,
  itemsOf,
  listOf,
  Namespace,
  ObjectValue,
  Range,
  typeName,
  type JinjaValue,
} from "./values.ts";

/** As jinja2's sandbox has it. */
const MAX_RANGE = 100_000;

export function globalFunctions(now: () => Date): ReadonlyMap<string, JinjaValue> {
  const functions: Record<string, (args: CallArguments) => JinjaValue> = {
    range: makeRange,
    dict: (args) => makeDict("dict", args),
    namespace: (args) => new Namespace(makeDict("namespace", args)),
    cycler: ({ positional, named }) => {
      if (named.size > 0 || positional.length === 0) throw new TemplateFault("cycler wants values");
      return new Cycler(positional);
    },
    joiner: (args) => {
      const [separator = ", "] = bind("joiner", args, ["sep"]);
      let used = false;
      return new Callable("joiner", (call) => {
        positionals("joiner", call, 0, 0);
        const text = used ? separator : "";
        used = true;
        return text;
      });
    },
    lipsum: () => {
      throw new TemplateFault("lipsum is not supported");
    },
    raise_exception: (args) => {
      const [message] = bind("raise_exception", args, ["message"], 1);
      throw new TemplateRefusal(textOf(message!));
    },
    strftime_now: (args) => {
      const [format] = bind("strftime_now", args, ["format"], 1);
      return strftime(textArgument("strftime_now", format), now());
    },
  };
  return new Map(Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]));
}

function makeRange(args: CallArguments): Range {
  const given = positionals("range", args, 1, 3).map((value) => intArgument("range", value));
  const [start, stop, step] = given.length === 1 ? [0, given[0], 1] : [given[0], given[1], given[2] ?? 1];
  if (step === 0) throw new TemplateFault("range has the step zero");
  const range = new Range(start, stop, step);
  if (range.length > MAX_RANGE) throw new TemplateFault(`range has more than ${MAX_RANGE} numbers`);
  return range;
}

/** `dict(pairs or dict, name=value…)`. */
export function makeDict(what: string, { positional, named }: CallArguments): Dict {
  if (positional.length > 1) throw new TemplateFault(`${what} has too many arguments`);
  const dict = new Dict();
  const [from] = positional;
  if (from instanceof Dict) {
    for (const [key, value] of from.entries()) dict.set(key, value);
  } else if (from !== undefined) {
    for (const entry of listOf(from)) {
      const pair = itemsOf(entry);
      if (pair?.length !== 2)
        throw new TemplateFault(`${what} wants pairs, and is given a ${typeName(entry)}`);
      dict.set(pair[0], pair[1]);
    }
  }
  for (const [key, value] of named) dict.set(key, value);
  return dict;
}

class Cycler extends ObjectValue {
  readonly type = "Cycler";
  readonly #values: readonly JinjaValue[];
  #at = 0;

  constructor(values: readonly JinjaValue[]) {
    super();
    this.#values = values;
  }

  attribute(name: string): JinjaValue | undefined {
    if (name === "current") return this.#values[this.#at];
    if (name === "reset" || name === "next") {
      return new Callable(`cycler.${name}`, (args) => {
        positionals(`cycler.${name}`, args, 0, 0);
        const value = this.#values[this.#at];
        this.#at = name === "reset" ? 0 : (this.#at + 1) % this.#values.length;
        return name === "reset" ? null : value;
      });
    }
    if (name === "items" || name === "pos") throw new TemplateFault(`"${name}" of a cycler is not supported`);
    return undefined;
  }
}
