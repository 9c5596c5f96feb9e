/** Values of options: text in, checked value out. Never quotes what may be a prompt. */
import { TacetError } from "../../base/errors.ts";

type Parse<T> = (text: string) => T;

/** @throws TacetError bad_argument */
export function integerIn(option: string, low: number, high: number): Parse<number> {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= low && value <= high) return value;
    throw new TacetError("bad_argument", `${option} must be an integer from ${low} to ${high}`);
  };
}

/**
 * A decimal number in [low, high], or in (0, high].
 * @throws TacetError bad_argument
 */
export function decimalIn(option: string, low: number | "above 0", high: number): Parse<number> {
  const above = low === "above 0";
  return (text) => {
    const value = /^-?\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
    if ((above ? value > 0 : value >= low) && value <= high) return value;
    const range = above ? `above 0 and at most ${high}` : `from ${low} to ${high}`;
    throw new TacetError("bad_argument", `${option} must be a decimal number ${range}`);
  };
}

/** @throws TacetError bad_argument */
export function oneOf<T extends string>(option: string, values: readonly T[]): Parse<T> {
  return (text) => {
    const value = values.find((each) => each === text);
    if (value !== undefined) return value;
    throw new TacetError("bad_argument", `${option} must be ${values.join(" or ")}`);
  };
}

/** For an option that may be given several times. */
export function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/**
 * For a text that may be given several times; "\\n" and "\\t" in it stand for a line's end and a tab.
 * @throws TacetError bad_argument
 */
export function collectText(option: string): (text: string, before: string[] | undefined) => string[] {
  return (text, before) => {
    if (text === "") throw new TacetError("bad_argument", `${option} must not be empty`);
    const meant = text.replace(/\\([nt\\])/g, (_, letter) =>
      letter === "n" ? "\n" : letter === "t" ? "\t" : "\\",
    );
    return [...(before ?? []), meant];
  };
}

/**
 * For token ids that may be given several times, each time one or a list.
 * @throws TacetError bad_argument
 */
export function collectIds(option: string): (text: string, before: number[] | undefined) => number[] {
  return (text, before) => [...(before ?? []), ...tokenIds(option)(text)];
}

/**
 * "1,2,3" or "1 2 3" → ids.
 * @throws TacetError bad_argument
 */
export function tokenIds(option: string): Parse<number[]> {
  return (text) => {
    const parts = text.split(/[\s,]+/).filter((part) => part !== "");
    if (parts.length > 0 && parts.every((part) => /^\d{1,9}$/.test(part))) return parts.map(Number);
    throw new TacetError("bad_argument", `${option} must be token ids`, {
      hint: `separate them with commas, as in ${option} 1,2227,318`,
    });
  };
}

/**
 * 32 bytes: a digest or a public key.
 * @throws TacetError bad_argument
 */
export function hex32(option: string): Parse<string> {
  return (text) => {
    if (/^[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase();
    throw new TacetError("bad_argument", `${option} must be 64 hex digits`, {
      hint: "'tacet inspect' of a bundle, state folder or provider prints its digest and who signed it",
    });
  };
}

/**
 * "NAME=JSON", may be given several times.
 * @throws TacetError bad_argument
 */
export function collectJson(option: string) {
  return (text: string, before: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => {
    const [, name, json] = /^([A-Za-z_]\w*)=([\s\S]*)$/.exec(text) ?? [];
    try {
      if (name !== undefined) return { ...before, [name]: JSON.parse(json) };
    } catch {
      // Said below.
    }
    throw new TacetError("bad_argument", `${option} must be a name, "=" and a JSON value`, {
      hint: `as in ${option} enable_thinking=false, or ${option} 'effort="high"'`,
    });
  };
}
