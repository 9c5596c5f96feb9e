/** The filters by name. */
import { TemplateFault } from "./errors.ts";
import type { Lookup } from "./filter.ts";
import { SEQUENCE_FILTERS } from "./filter-sequence.ts";
import { TEXT_FILTERS } from "./filter-text.ts";
import { FILTER_NAMES } from "./names.ts";
import { applyTest } from "./tests.ts";
import type { CallArguments, JinjaValue } from "./values.ts";

const ALIASES: Record<string, string> = { d: "default", e: "escape", count: "length" };
const LOOKUP: Lookup = { filter: applyFilter, test: applyTest };

/** @throws TemplateFault if there is none of that name, or it fails */
export function applyFilter(name: string, value: JinjaValue, args: CallArguments): JinjaValue {
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  const filters = Object.hasOwn(TEXT_FILTERS, known) ? TEXT_FILTERS : SEQUENCE_FILTERS;
  if (!Object.hasOwn(filters, known)) {
    throw new TemplateFault(
      FILTER_NAMES.has(name) ? `the filter "${name}" is not supported` : "there is no filter of that name",
    );
  }
  return filters[known](value, args, LOOKUP);
}
