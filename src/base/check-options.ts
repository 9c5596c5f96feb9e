/**
 * Options from JavaScript, where no compiler has looked at them. A name that is not known is an error, never ignored:
 * a mistyped `adapter` or a misplaced `temperature` would silently be another request.
 */
import { TacetError } from "./errors.ts";

/** What an option's value must be, as `typeof` says it; "list": an array; "any": whoever uses it looks closer. */
export type OptionType = "string" | "number" | "boolean" | "function" | "object" | "list" | "any";

/** Every option of T with its type: one that is forgotten does not compile. */
export type OptionTypes<T> = Readonly<Record<keyof T, OptionType>>;

export interface OptionHelp {
  /** What the options are given to, for messages: "connect". */
  readonly of: string;
  /** Options that must be there, each with an example: { provider: '"wss://provider.example"' }. */
  readonly required?: Readonly<Record<string, string>>;
  /** Names that people use for something else: { temperature: "sampling.temperature" }. */
  readonly known?: Readonly<Record<string, string>>;
}

/** No suggestion for a name that differs in more places. */
const MOST_EDITS = 2;
/** Of a name in a message. */
const LONGEST_NAME = 60;

/**
 * Looks at names and types; ranges are the business of whoever uses the values, which no message quotes.
 *
 * @throws TacetError bad_argument naming the option, and the one that was probably meant
 */
export function checkOptions<T>(given: unknown, types: OptionTypes<T>, help: OptionHelp): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw bad(`${help.of} takes its options as one object`, `as in ${exampleOf(help)}`);
  }
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(types, name)) throw unknownOption(name, Object.keys(types), help);
    const type = (types as Readonly<Record<string, OptionType>>)[name];
    if (value === undefined || isOf(type, value)) continue;
    throw bad(`${name} of ${help.of} must be ${NAMES[type]}, and is ${nameOf(value)}`);
  }
  for (const [name, example] of Object.entries(help.required ?? {})) {
    if ((given as Record<string, unknown>)[name] !== undefined) continue;
    throw bad(`${help.of} needs ${name}`, `as in { ${name}: ${example} }`);
  }
}

const NAMES: Readonly<Record<OptionType, string>> = {
  string: "a string",
  number: "a number",
  boolean: "true or false",
  function: "a function",
  object: "an object",
  list: "a list",
  any: "something else",
};

function isOf(type: OptionType, value: unknown): boolean {
  if (type === "any") return true;
  if (type === "list") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function unknownOption(name: string, names: readonly string[], { of, known = {} }: OptionHelp): TacetError {
  const shown = JSON.stringify(name.slice(0, LONGEST_NAME));
  const meant = Object.hasOwn(known, name) ? known[name] : nearest(name, [...names, ...Object.keys(known)]);
  const hint =
    meant === undefined
      ? `it has: ${[...names].sort().join(", ")}`
      : `did you mean ${(Object.hasOwn(known, meant) && known[meant]) || meant}?`;
  return bad(`${of} has no option ${shown}`, hint);
}

function nearest(name: string, names: readonly string[]): string | undefined {
  if (name.length > LONGEST_NAME) return undefined;
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_]/g, "");
  let best: string | undefined;
  let fewest = MOST_EDITS + 1;
  for (const each of names) {
    const edits = editDistance(plain(name), plain(each));
    // Of a short name two edits leave nothing.
    if (edits < fewest && edits * 3 <= Math.max(name.length, each.length)) [best, fewest] = [each, edits];
  }
  return best;
}

/** Insertions, deletions and replacements of one letter, and swaps of two neighbours, that make a into b. */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    rows[i] = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[a.length][b.length];
}

function exampleOf({ of, required = {} }: OptionHelp): string {
  const fields = Object.entries(required).map(([name, example]) => `${name}: ${example}`);
  return `${of}({ ${fields.join(", ") || "…"} })`;
}

function bad(message: string, hint?: string): TacetError {
  return new TacetError("bad_argument", message, { hint });
}

/** Options over their defaults. One that is given as undefined counts as not given. */
export function withDefaults<D extends object, G extends object>(defaults: D, given: G): D & G {
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(said) } as D & G;
}
