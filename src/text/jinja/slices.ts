/** `value[start:stop:step]`. */
import { spend } from "./budget.ts";
import { TemplateFault } from "./errors.ts";
import { codePoints, isPlain } from "./unicode.ts";
import { isList, itemsOf, Range, Tuple, typeName, Undefined, type JinjaValue } from "./values.ts";

const LARGE = 1n << 40n;

function bound(value: JinjaValue | undefined): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (value instanceof Undefined) throw value.fail();
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value !== "bigint") throw new TemplateFault(`a slice begins or ends at a ${typeName(value)}`);
  return Number(value > LARGE ? LARGE : value < -LARGE ? -LARGE : value);
}

/** The indices that a slice takes of `length` elements. */
function indices(length: number, [from, to, by]: readonly (JinjaValue | undefined)[]): number[] {
  const step = bound(by) ?? 1;
  if (step === 0) throw new TemplateFault("a slice has the step zero");
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const clamp = (value: number): number => Math.min(Math.max(value < 0 ? value + length : value, low), high);
  const [start, stop] = [bound(from), bound(to)];
  const last = stop === undefined ? (step > 0 ? high : low) : clamp(stop);
  const taken: number[] = [];
  for (
    let i = start === undefined ? (step > 0 ? low : high) : clamp(start);
    step > 0 ? i < last : i > last;
    i += step
  ) {
    taken.push(i);
  }
  spend(taken.length);
  return taken;
}

/** A slice with the step 1 of a text whose code points are its units. */
function plainSlice(text: string, bounds: readonly (JinjaValue | undefined)[]): string {
  const [start, stop] = [bound(bounds[0]), bound(bounds[1])];
  return text.slice(start ?? 0, stop ?? text.length);
}

export function slice(value: JinjaValue, bounds: readonly (JinjaValue | undefined)[]): JinjaValue {
  if (value instanceof Undefined) throw value.fail();
  if (typeof value === "string") {
    if (bounds[2] === undefined && isPlain(value)) return plainSlice(value, bounds);
    const points = codePoints(value);
    return indices(points.length, bounds)
      .map((i) => points[i])
      .join("");
  }
  const items = itemsOf(value);
  if (items !== undefined) {
    const taken = indices(items.length, bounds).map((i) => items[i]);
    return isList(value) ? taken : new Tuple(taken);
  }
  if (value instanceof Range) throw new TemplateFault("slices of ranges are not supported");
  throw new TemplateFault(`a ${typeName(value)} is sliced`);
}
