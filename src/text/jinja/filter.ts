/** What a filter is. */
import type { CallArguments, Value } from "./values.ts";

/** How a filter uses the others. */
export interface Lookup {
  filter(name: string, value: Value, args: CallArguments): Value;
  test(name: string, value: Value, args: CallArguments): Value;
}

export type Filters = Record<string, (value: Value, args: CallArguments, lookup: Lookup) => Value>;
