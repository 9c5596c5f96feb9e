/** The models that come with the package. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** This file is in src/cli or dist/cli: two levels below the package. */
const LEXICON = new URL("../../../models/lexicon/", import.meta.url);

export const EMBEDDED_BASE = fileURLToPath(new URL("base", LEXICON));
export const EMBEDDED_ADAPTER = fileURLToPath(new URL("law-adapter", LEXICON));
/** Answers that the two must give. */
export const EMBEDDED_EXPECTED = fileURLToPath(new URL("expected.json", LEXICON));
export const PACKAGE_JSON = fileURLToPath(new URL("../../../package.json", import.meta.url));
/** English text that is always there. */
export const PACKAGE_LICENSE = fileURLToPath(new URL("../../../LICENSE", import.meta.url));

/** Words that both have something to say about. */
export const EMBEDDED_EXAMPLES: readonly string[] = [
  "tender",
  "consideration",
  "bail",
  "battery",
  "will",
  "arson",
];

/** The embedded base is a dictionary: it knows one question at a time. */
export function isEmbeddedBase(base: string | undefined): boolean {
  return base === undefined || resolve(base) === resolve(EMBEDDED_BASE);
}

export function isEmbeddedAdapter(adapter: string): boolean {
  return resolve(adapter) === resolve(EMBEDDED_ADAPTER);
}
