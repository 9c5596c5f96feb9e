/**
 * Typed arrays of one class whose bytes are equal are equal: Vitest looks at them entry by entry, at some thirtieth of what
 * the suite computes. All others it still looks at itself, and says where they differ.
 */
import { expect } from "vitest";

expect.addEqualityTesters([
  (a: unknown, b: unknown) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
    if (a.constructor !== b.constructor || a.byteLength !== b.byteLength) return undefined;
    const [one, two] = [a, b].map(({ buffer, byteOffset, byteLength }) =>
      Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength),
    );
    return one.equals(two) ? true : undefined;
  },
]);
