/** What a filter is. */
import type { CallArguments, JinjaValue } from "./values.ts";

/** How a filter uses the others. */
export interface Lookup {
  filter(name: string, value: JinjaValue, args: CallArguments): JinjaValue;
  test(name: string, value: JinjaValue, args: CallArguments): JinjaValue;
}

export type Filters = Record<string, (value: JinjaValue, args: CallArguments, lookup: Lookup) => JinjaValue>;
