/** How much of an adapter's function a key's budget gives to whoever asks what teaches most. */
import { grouped } from "../../base/show-number.ts";
import type { BundleManifest } from "../../bundle/manifest.ts";
import type { AdapterFigures } from "../../library/node-data-folder.ts";
import type { Grant, KeyRecord } from "../../provider/store.ts";
import { type FunctionVectors, securityFacts } from "./bundle-facts.ts";

export function figuresOf(manifest: BundleManifest): AdapterFigures {
  return { adapter: manifest.adapter, functionVectors: securityFacts(manifest).functionVectors };
}

export interface Exposure {
  /** One sentence. */
  readonly text: string;
  /** Whether the budget gives a whole group away, at once or window by window. */
  readonly givesAway: boolean;
}

const UNITS: Record<number, string> = { 60: "minute", 3600: "hour", 86400: "day", 604800: "week" };

export function exposureOf(
  { budget, expiresAt }: Pick<KeyRecord, "budget" | "expiresAt">,
  { functionVectors }: AdapterFigures,
  nowMs: number,
): Exposure {
  const needed = neededFor(functionVectors);
  if (budget === null) return { text: `${needed}; without a limit all of it is given away`, givesAway: true };
  const shares = functionVectors.map(({ vectors }) => percent(budget.vectors / vectors));
  const least = Math.min(...functionVectors.map(({ vectors }) => vectors));
  const given = `${needed}; ${said(budget)} give ${shares.join(", ")} of that`;
  if (budget.vectors >= least) {
    const all = budget.windowSeconds === 0 ? "it" : `one ${unitOf(budget)}`;
    return { text: `${given}: ${all} gives the function away`, givesAway: true };
  }
  if (budget.windowSeconds === 0) return { text: given, givesAway: false };
  const windows = Math.ceil(least / budget.vectors);
  const lifetime = expiresAt === null ? Number.POSITIVE_INFINITY : expiresAt - nowMs;
  // A key's life may begin and end in the middle of a window.
  const open = Math.floor(lifetime / (1000 * budget.windowSeconds)) + 2;
  if (windows > open) return { text: `${given}, and the key ends before ${windows}`, givesAway: false };
  return { text: `${given}: ${windows} ${unitOf(budget)}s give the function away`, givesAway: true };
}

/** "a group's function is known after 185 chosen vectors at width 256, 478 at width 704" */
export function neededFor(functionVectors: readonly FunctionVectors[]): string {
  const [first, ...rest] = functionVectors.map(
    ({ vectors, inFeatures }) => [grouped(vectors), `at width ${inFeatures}`] as const,
  );
  const others = rest.map(([vectors, width]) => `, ${vectors} ${width}`).join("");
  return `a group's function is known after ${first[0]} chosen vectors ${first[1]}${others}`;
}

function said(budget: Grant): string {
  const vectors = `${grouped(budget.vectors)} vectors`;
  return budget.windowSeconds === 0 ? vectors : `${vectors} a ${unitOf(budget)}`;
}

function unitOf({ windowSeconds }: Grant): string {
  return UNITS[windowSeconds] ?? `window of ${windowSeconds} s`;
}

/** "49 %", "2,703 %", "0.4 %" */
function percent(share: number): string {
  const value = 100 * share;
  return `${value >= 1 || value === 0 ? grouped(Math.round(value)) : value.toPrecision(1)} %`;
}
