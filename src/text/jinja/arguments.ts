/** Arguments of calls, as Python hands them to parameters. */
import { TemplateFault } from "./errors.ts";
import { type CallArguments, typeName, Undefined, type JinjaValue } from "./values.ts";

/**
 * One value for each parameter, undefined where none is given.
 * @param required how many of the first must be given
 */
export function bind(
  what: string,
  { positional, named }: CallArguments,
  parameters: readonly string[],
  required = 0,
): (JinjaValue | undefined)[] {
  if (positional.length > parameters.length) throw new TemplateFault(`${what} has too many arguments`);
  const values: (JinjaValue | undefined)[] = parameters.map((_, i) => positional[i]);
  for (const [name, value] of named) {
    const i = parameters.indexOf(name);
    if (i < 0) throw new TemplateFault(`${what} has no argument "${name}"`);
    if (values[i] !== undefined) throw new TemplateFault(`${what} is given "${name}" twice`);
    values[i] = value;
  }
  for (let i = 0; i < required; i++) {
    if (values[i] === undefined) throw new TemplateFault(`${what} is not given "${parameters[i]}"`);
  }
  return values;
}

/** Arguments that have no names. */
export function positionals(
  what: string,
  { positional, named }: CallArguments,
  least: number,
  most: number,
): readonly (JinjaValue | undefined)[] {
  if (named.size > 0) throw new TemplateFault(`${what} takes no named arguments`);
  if (positional.length < least || positional.length > most) {
    throw new TemplateFault(`${what} has the wrong number of arguments`);
  }
  return positional;
}

export function textArgument(what: string, value: JinjaValue | undefined): string {
  if (typeof value === "string") return value;
  throw wrongType(what, value, "text");
}

/** An int as a number; beyond what a text can be long, all are alike. */
export function intArgument(what: string, value: JinjaValue | undefined): number {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value !== "bigint") throw wrongType(what, value, "int");
  return Number(value > LARGE ? LARGE : value < -LARGE ? -LARGE : value);
}
const LARGE = 1n << 40n;

function wrongType(what: string, value: JinjaValue | undefined, wanted: string): TemplateFault {
  if (value instanceof Undefined) return value.fail();
  const given = value === undefined ? "nothing" : `a ${typeName(value)}`;
  return new TemplateFault(`${what} wants ${wanted === "int" ? "an int" : "a text"}, and is given ${given}`);
}
