/**
 * Typed arrays whose bytes are equal are equal: Vitest looks at them entry by entry, which took a tenth of what the tests
 * of kernels compute. Those that differ, it still looks at itself, and says where.
 */
import { expect } from "vitest";

const typeOf = (value: object): string => Object.prototype.toString.call(value);

expect.addEqualityTesters([
  (a: unknown, b: unknown) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
    if (typeOf(a) !== typeOf(b) || a.byteLength !== b.byteLength) return undefined;
    const [one, two] = [a, b].map(({ buffer, byteOffset, byteLength }) =>
      Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength),
    );
    return one.equals(two) ? true : undefined;
  },
]);
