/** Reading single fields of config.json, with errors that name the field and what it holds. */

import { TacetError } from "../../base/errors.ts";

export type RawConfig = Readonly<Record<string, unknown>>;

/** More than any model has; lists of one entry a layer are made before the weights are looked at. */
export const MAX_LAYERS = 4096;

export function present(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** @throws TacetError bad_checkpoint unless the field, or what it falls back to, is an integer from 1 to `most` */
export function count(raw: RawConfig, field: string, fallback?: number, most = 2 ** 31 - 1): number {
  const value = raw[field] ?? fallback;
  if (Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= most)
    return value as number;
  throw bad(field, `must be a positive integer up to ${most}, is ${show(value)}`);
}

/**
 * @param inside name of the object that holds the field, if it is not the file itself
 * @throws TacetError bad_checkpoint unless the field is a positive number, or left out with a fallback
 */
export function positive(raw: RawConfig, field: string, fallback?: number, inside?: string): number {
  const value = raw[field] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw bad(path(field, inside), `must be a positive number, is ${show(value)}`);
}

/** null is a value by itself, "without it": undefined. @throws TacetError bad_checkpoint */
export function positiveOrNone(raw: RawConfig, field: string, fallback: number | null): number | undefined {
  const value = raw[field] === undefined ? fallback : raw[field];
  return value === null ? undefined : positive(raw, field, value as number);
}

/**
 * The file with fields under the names that are read here, where it has them under older ones.
 *
 * @param names by what is read here
 * @throws TacetError bad_checkpoint if the file has both and they differ
 */
export function withAliases(raw: RawConfig, names: Readonly<Record<string, string>>): RawConfig {
  const found = Object.entries(names).filter(([, older]) => present(raw[older]));
  for (const [field, older] of found) {
    if (present(raw[field]) && raw[field] !== raw[older]) {
      throw bad(field, `is ${show(raw[field])}, and ${older} ${show(raw[older])}`);
    }
  }
  return { ...raw, ...Object.fromEntries(found.map(([field, older]) => [field, raw[older]])) };
}

/** @throws TacetError bad_checkpoint unless the field is a boolean or left out */
export function flag(raw: RawConfig, field: string, fallback: boolean): boolean {
  const value = raw[field] ?? fallback;
  if (typeof value === "boolean") return value;
  throw bad(field, `must be true or false, is ${show(value)}`);
}

/** @throws TacetError unsupported_model unless the field has one of these values, or is left out with a fallback */
export function choice<T extends string>(raw: RawConfig, field: string, known: readonly T[], fallback: T): T {
  const value = raw[field] ?? fallback;
  const found = known.find((each) => each === value);
  if (found !== undefined) return found;
  throw unsupported(field, value);
}

/** @throws TacetError unsupported_model unless the field has one of these values or is left out */
export function demand(raw: RawConfig, field: string, wanted: readonly unknown[], inside?: string): void {
  const value = raw[field];
  if (present(value) && !wanted.includes(value)) throw unsupported(path(field, inside), value);
}

export function bad(field: string, what: string): TacetError {
  return new TacetError("bad_checkpoint", `config.json: ${field} ${what}`);
}

export function unsupported(field: string, value: unknown): TacetError {
  return new TacetError("unsupported_model", `config.json: ${field} = ${show(value)} is not supported`, {
    hint: "it would change the results, so it is not ignored",
  });
}

export function show(value: unknown): string {
  return (JSON.stringify(value) ?? "missing").slice(0, 80);
}

function path(field: string, inside: string | undefined): string {
  return inside ? `${inside}.${field}` : field;
}
