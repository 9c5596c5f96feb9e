/** Single fields of a GGUF file's metadata, with errors that name the file, the field and what it holds. */

import { TacetError } from "../../base/errors.ts";
import { quoteName } from "../json-file.ts";
import type { GgufScalar, GgufValue } from "./header.ts";
import type { GgufFile, FileTensor } from "./open-gguf.ts";

/** More than any model has; lists of one entry a layer are made before tensors are looked at. */
const MAX_COUNT = 2 ** 31 - 1;

export class Metadata {
  readonly file: GgufFile;
  /** general.architecture, which the keys of sizes begin with. */
  readonly architecture: string;

  /** @throws TacetError bad_checkpoint */
  constructor(file: GgufFile) {
    this.file = file;
    this.architecture = this.text("general.architecture");
  }

  /** The value of a key, with the architecture instead of a leading dot: ".block_count". */
  value(key: string): GgufValue | undefined {
    return this.file.metadata.get(this.#full(key));
  }

  has(key: string): boolean {
    return this.value(key) !== undefined;
  }

  /** @throws TacetError bad_checkpoint unless it is text, or left out with a fallback */
  text(key: string, fallback?: string): string {
    const value = this.value(key) ?? fallback;
    if (typeof value === "string") return value;
    throw this.bad(key, `must be text, is ${shown(value)}`);
  }

  /**
   * A positive integer; of a list with one entry for each layer, the one that all of them are.
   *
   * @throws TacetError bad_checkpoint; unsupported_model for a list of different ones
   */
  count(key: string, fallback?: number): number {
    const found = this.value(key) ?? fallback;
    const isList = Array.isArray(found);
    if (isList && found.length > 0 && found.some((each) => each !== found[0])) {
      throw this.unsupported(key, "it differs from layer to layer");
    }
    const value = isList ? found[0] : found;
    if (Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= MAX_COUNT) {
      return value as number;
    }
    throw this.bad(key, `must be a positive integer, is ${shown(value)}`);
  }

  /** A positive integer of a layer: of a list its entry, else the one of all layers. @throws as {@link count} */
  countIn(key: string, layer: number): number {
    const found = this.value(key);
    const value = Array.isArray(found) ? found[layer] : found;
    if (Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= MAX_COUNT) {
      return value as number;
    }
    throw this.bad(key, `must be a positive integer in layer ${layer}, is ${shown(value)}`);
  }

  /** One for each layer; numbers count as well, as builds before booleans wrote them. @throws TacetError bad_checkpoint */
  booleans(key: string, length: number): readonly boolean[] {
    const value = this.value(key);
    const isOne = (each: unknown) => typeof each === "boolean" || each === 0 || each === 1;
    if (!Array.isArray(value) || value.length !== length || !value.every(isOne)) {
      throw this.bad(key, `must have true or false for each of ${length} layers, is ${shown(value)}`);
    }
    return value.map(Boolean);
  }

  /** A positive number; what F32 has rounded of a decimal fraction comes back as that fraction. */
  positive(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return shortest(value);
    throw this.bad(key, `must be a positive number, is ${shown(value)}`);
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback;
    if (typeof value === "boolean") return value;
    throw this.bad(key, `must be true or false, is ${shown(value)}`);
  }

  /** An id of the vocabulary; undefined where none is named: builds of llama.cpp write −1 and 2^32 − 1 for that. */
  tokenId(key: string, vocabulary: number): number | undefined {
    const value = this.value(key);
    if (value === undefined || value === -1 || value === 2 ** 32 - 1) return undefined;
    if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < vocabulary) {
      return value as number;
    }
    throw this.bad(key, `is no id of the ${vocabulary} tokens: ${shown(value)}`);
  }

  /** @throws TacetError bad_checkpoint unless it is a list of `length` entries that all are of this kind */
  list(key: string, kind: "string", length?: number): readonly string[];
  list(key: string, kind: "number", length?: number): readonly number[];
  list(key: string, kind: "string" | "number", length?: number): readonly GgufScalar[] {
    const value = this.value(key);
    if (!Array.isArray(value)) throw this.bad(key, `must be a list, is ${shown(value)}`);
    const odd = value.findIndex((each) => typeof each !== kind);
    if (odd >= 0) throw this.bad(key, `has an entry, ${odd}, that is no ${kind}`);
    if (length !== undefined && value.length !== length) {
      throw this.bad(key, `has ${value.length} entries, ${length} are wanted`);
    }
    return value;
  }

  /** @throws TacetError unsupported_model if it is there with another value than these */
  demand(key: string, wanted: readonly GgufScalar[]): void {
    const value = this.value(key);
    if (value === undefined || (!Array.isArray(value) && wanted.includes(value as GgufScalar))) return;
    throw this.unsupported(key, `it is ${shown(value)}`);
  }

  bad(key: string, what: string): TacetError {
    return new TacetError("bad_checkpoint", `${this.file.path}: ${this.#full(key)} ${what}`, {
      hint: "the file is damaged, or was not made by llama.cpp's converter: download it again",
    });
  }

  badTensor({ name, path }: FileTensor, what: string): TacetError {
    return new TacetError("bad_checkpoint", `${path}: tensor ${quoteName(name)} ${what}`, {
      hint: "download the file again",
    });
  }

  unsupported(key: string, what: string): TacetError {
    return new TacetError(
      "unsupported_model",
      `${this.file.path}: ${this.#full(key)} is not supported: ${what}`,
      {
        hint: "it would change the results, so it is not ignored",
      },
    );
  }

  #full(key: string): string {
    return key.startsWith(".") ? `${this.architecture}${key}` : key;
  }
}

/** The decimal fraction of fewest digits that F32 rounds to this number: 1e-5 for 0.000009999999747. */
function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

function shown(value: GgufValue | undefined): string {
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
}
