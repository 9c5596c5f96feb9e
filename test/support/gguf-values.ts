/** Values that a field of a GGUF file may hold, of every type: for tests that give a field another one. */
import fc from "fast-check";
import type { GgufValue } from "../../tools/gguf/write-gguf.ts";

const whole = (min: number, max: number) =>
  fc.oneof(fc.integer({ min: Math.max(min, -3), max: 5 }), fc.constantFrom(min, max));
const ITEMS = {
  uint8: whole(0, 255),
  int8: whole(-128, 127),
  uint16: whole(0, 65_535),
  int32: whole(-(2 ** 31), 2 ** 31 - 1),
  uint32: whole(0, 2 ** 32 - 1),
  uint64: fc.constantFrom(0, 1, 2 ** 32, 2 ** 53, 2 ** 63),
  int64: fc.constantFrom(-1, 0, 1, 2 ** 53, -(2 ** 62)),
  float32: fc.constantFrom(0, -1, 1e-30, 0.5, 1e30, Number.NaN, Number.POSITIVE_INFINITY),
  float64: fc.constantFrom(0, -1, 0.5, 1e300, Number.NaN),
  bool: fc.boolean(),
  string: fc.oneof(fc.constantFrom("", "gpt2", "llama", "default", "a b"), fc.string({ maxLength: 6 })),
};

/** One value of a type, or a list of them. */
export const anyGgufValue: fc.Arbitrary<GgufValue> = fc.oneof(
  ...Object.entries(ITEMS).flatMap(([type, item]) => [
    fc.tuple(fc.constant(type), item),
    fc.tuple(fc.constant(`${type}[]`), fc.array(item as fc.Arbitrary<unknown>, { maxLength: 4 })),
  ]),
) as unknown as fc.Arbitrary<GgufValue>;

/** A file's fields with some of them changed to another value, or left out. */
export function withOtherFields(
  metadata: Readonly<Record<string, GgufValue>>,
  fields: readonly string[] = Object.keys(metadata),
): fc.Arbitrary<Record<string, GgufValue>> {
  const change = fc.tuple(fc.constantFrom(...fields), fc.option(anyGgufValue, { nil: undefined, freq: 6 }));
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
    const changed = new Map(Object.entries(metadata));
    for (const [field, value] of changes) {
      if (value === undefined) changed.delete(field);
      else changed.set(field, value);
    }
    return Object.fromEntries(changed);
  });
}
