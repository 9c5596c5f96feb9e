import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteCollector } from "./byte-collector.ts";

describe("ByteCollector", () => {
  it("joins parts of any length, and does not keep them", () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 6000 }), { maxLength: 8 });
    fc.assert(
      fc.property(parts, fc.nat(3), (given, more) => {
        const all = given.flatMap((part) => [...part]);
        const collector = new ByteCollector(all.length + more);
        for (const part of given) {
          const copy = part.slice();
          collector.add(copy);
          copy.fill(0);
        }
        expect(collector.length).toBe(all.length);
        expect([...collector.take()]).toEqual(all);
      }),
    );
  });

  it("takes no more than it may, and keeps what it had", () => {
    const collector = new ByteCollector(5);
    collector.add(Uint8Array.of(1, 2, 3));
    expect(() => collector.add(Uint8Array.of(4, 5, 6))).toThrow(RangeError);
    collector.add(Uint8Array.of(4, 5));
    expect(collector.take()).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
  });

  it("costs twice the bytes at most, however small the parts are, and nothing for what may come", () => {
    const sizes: number[] = [];
    const Real = Uint8Array;
    const collector = new ByteCollector(2 ** 40);
    globalThis.Uint8Array = class extends Real {
      constructor(...args: unknown[]) {
        super(...(args as [number]));
        if (typeof args[0] === "number") sizes.push(args[0]);
      }
    } as Uint8ArrayConstructor;
    try {
      const part = new Real(1);
      for (let i = 0; i < 1e6; i++) collector.add(part);
    } finally {
      globalThis.Uint8Array = Real;
    }
    expect(sizes.length).toBeLessThan(12);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2 ** 20);
    expect(collector.length).toBe(1e6);
  });
});
