/** Fields of a manifest, checked one by one: a bundle is untrusted. */
import { TacetError } from "../base/errors.ts";

export function bundleRefusal(what: string): TacetError {
  return new TacetError("bad_bundle", `not a usable bundle: ${what}`, {
    hint: "the file is damaged or was made by something else: ask the provider for it again",
  });
}

export function record(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw bundleRefusal(`${at} is not an object`);
  return value as Record<string, unknown>;
}

export function array(value: unknown, at: string, most: number): unknown[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > most) {
    throw bundleRefusal(`${at} is not a list of 1 to ${most} entries`);
  }
  return value;
}

export function string(value: unknown, at: string): string {
  if (!isName(value)) throw bundleRefusal(`${at} is not a name`);
  return value;
}

/** 1 to 512 characters that can be seen: names reach terminals and logs, so no controls, formats, lone surrogates. */
export function isName(value: unknown): value is string {
  return typeof value === "string" && value.length <= 512 && /^\P{C}+$/u.test(value);
}

export function integer(value: unknown, at: string, low: number, high: number): number {
  if (!Number.isInteger(value) || (value as number) < low || (value as number) > high) {
    throw bundleRefusal(`${at} is not an integer in [${low}, ${high}]`);
  }
  return value as number;
}

export function hex(value: unknown, at: string, bytes: number): string {
  if (typeof value !== "string" || value.length !== 2 * bytes || !/^[0-9a-f]*$/.test(value)) {
    throw bundleRefusal(`${at} is not ${bytes} bytes in hex`);
  }
  return value;
}
