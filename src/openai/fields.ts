/** Fields of a request's JSON body, checked one by one. Nothing that a client sent is quoted but field names. */

import { badField } from "./api-error.ts";

export type JsonObject = { readonly [field: string]: unknown };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Fields that are null count as left out, as OpenAI has it. */
export class Fields {
  readonly #object: JsonObject;
  /** Before a field's name in messages: "" or "stream_options.". */
  readonly #prefix: string;

  constructor(object: JsonObject, prefix = "") {
    this.#object = object;
    this.#prefix = prefix;
  }

  get(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? (this.#object[name] ?? undefined) : undefined;
  }

  /** @throws ApiError for a field that is in none of the lists, and not null */
  refuseOthers(...known: readonly (readonly string[])[]): void {
    for (const name of Object.keys(this.#object)) {
      if (this.get(name) === undefined || known.some((names) => names.includes(name))) continue;
      const param = this.#param(name.slice(0, 64));
      throw badField(param, `the parameter ${JSON.stringify(param)} is not known here`, "unknown_parameter");
    }
  }

  /** @throws ApiError if a number is not in [low, high] */
  number(name: string, low: number, high: number): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw badField(this.#param(name), `${this.#param(name)} must be a number from ${low} to ${high}`);
  }

  /** @throws ApiError if a number is not an integer in [low, high] */
  integer(name: string, low: number, high: number): number | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
    throw badField(this.#param(name), `${this.#param(name)} must be an integer from ${low} to ${high}`);
  }

  /** @throws ApiError */
  boolean(name: string): boolean {
    const value = this.get(name) ?? false;
    if (typeof value === "boolean") return value;
    throw badField(this.#param(name), `${this.#param(name)} must be true or false`);
  }

  /** @throws ApiError */
  object(name: string): Fields | undefined {
    const value = this.get(name);
    if (value === undefined) return undefined;
    if (isObject(value)) return new Fields(value, `${this.#param(name)}.`);
    throw badField(this.#param(name), `${this.#param(name)} must be an object`);
  }

  #param(name: string): string {
    return this.#prefix + name;
  }
}
