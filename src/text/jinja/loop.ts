/** What `loop` is in the body of a loop. It reads its source no further than the body asks. */
import { positionals } from "./arguments.ts";
import { Callable, ObjectValue, type JinjaValue } from "./values.ts";

export class Loop extends ObjectValue {
  readonly type = "LoopContext";
  #iterator: Iterator<JinjaValue>;
  #length: number | undefined;
  #index = -1;
  /** Read ahead of the body; undefined: not yet. */
  #after: IteratorResult<JinjaValue> | undefined;
  #before: JinjaValue | undefined;
  #current: JinjaValue | undefined;
  #changed: readonly JinjaValue[] | undefined;
  readonly #equal: (a: readonly JinjaValue[], b: readonly JinjaValue[]) => boolean;

  constructor(
    iterator: Iterator<JinjaValue>,
    length: number | undefined,
    equal: (a: readonly JinjaValue[], b: readonly JinjaValue[]) => boolean,
  ) {
    super();
    this.#iterator = iterator;
    this.#length = length;
    this.#equal = equal;
  }

  next(): IteratorResult<JinjaValue> {
    const result = this.#peek();
    this.#after = undefined;
    if (result.done) return result;
    this.#index += 1;
    this.#before = this.#current;
    this.#current = result.value;
    return result;
  }

  #peek(): IteratorResult<JinjaValue> {
    return (this.#after ??= this.#iterator.next());
  }

  /** Of an iterator, the rest is read to count it. */
  #count(): number {
    if (this.#length === undefined) {
      const ahead = this.#after;
      const rest: JinjaValue[] = [];
      for (let next = this.#iterator.next(); !next.done; next = this.#iterator.next()) rest.push(next.value);
      this.#iterator = rest[Symbol.iterator]();
      this.#length = rest.length + this.#index + 1 + (ahead === undefined || ahead.done === true ? 0 : 1);
    }
    return this.#length;
  }

  attribute(name: string): JinjaValue | undefined {
    switch (name) {
      case "index0":
        return BigInt(this.#index);
      case "index":
        return BigInt(this.#index + 1);
      case "revindex0":
        return BigInt(this.#count() - this.#index - 1);
      case "revindex":
        return BigInt(this.#count() - this.#index);
      case "first":
        return this.#index === 0;
      case "last":
        return this.#peek().done === true;
      case "length":
        return BigInt(this.#count());
      case "depth0":
        return 0n;
      case "depth":
        return 1n;
      case "previtem":
        return this.#index === 0 ? undefined : this.#before;
      case "nextitem": {
        const next = this.#peek();
        return next.done ? undefined : next.value;
      }
      case "cycle":
        return new Callable("loop.cycle", (args) => {
          const values = positionals("loop.cycle", args, 1, Number.POSITIVE_INFINITY);
          return values[this.#index % values.length]!;
        });
      case "changed":
        return new Callable("loop.changed", (args) => {
          const values = positionals(
            "loop.changed",
            args,
            0,
            Number.POSITIVE_INFINITY,
          ) as readonly JinjaValue[];
          if (this.#changed !== undefined && this.#equal(this.#changed, values)) return false;
          this.#changed = values;
          return true;
        });
    }
    return undefined;
  }
}
