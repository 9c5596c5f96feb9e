/** JSON values as Python's. */
import { TemplateFault } from "./errors.ts";
import { Dict, type JinjaValue } from "./values.ts";

/** Levels of lists and objects. */
const MAX_DEPTH = 100;

/** A number without a fraction is an int. @throws TemplateFault for what JSON does not have, or too many levels */
export function toValue(json: unknown, depth = 0): JinjaValue {
  if (depth > MAX_DEPTH) throw new TemplateFault("a variable is nested too deeply");
  if (json === null || typeof json === "boolean" || typeof json === "string") return json;
  if (typeof json === "number") {
    if (Number.isSafeInteger(json)) return BigInt(json);
    if (!Number.isFinite(json) || Number.isInteger(json)) throw new TemplateFault("a number is too large");
    return json;
  }
  if (Array.isArray(json)) return json.map((item) => toValue(item, depth + 1));
  if (typeof json === "object") {
    return new Dict(Object.entries(json as object).map(([key, value]) => [key, toValue(value, depth + 1)]));
  }
  throw new TemplateFault(`a variable is a ${typeof json}`);
}
