/** Requests are known by slot and digest, in few bytes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RecentRequests } from "./recent-requests.ts";

const digestOf = (n: number) => {
  const digest = new Uint8Array(16);
  new DataView(digest.buffer).setUint32((n % 4) * 4, n + 1, true);
  return digest;
};

describe("RecentRequests", () => {
  it("knows the latest and at most twice as many, as a list of them would", () => {
    const requests = fc.array(fc.tuple(fc.nat(3), fc.nat(1000)), { maxLength: 2_000 });
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 900 }), (all, most) => {
        const recent = new RecentRequests(most);
        let [young, old] = [new Set<string>(), new Set<string>()];
        for (const [slot, n] of all) {
          const name = `${slot} ${n}`;
          const isKnown = young.has(name) || old.has(name);
          expect(recent.has(slot, digestOf(n))).toBe(isKnown);
          if (isKnown) continue;
          recent.add(slot, digestOf(n));
          young.add(name);
          if (young.size === most) [young, old] = [new Set(), young];
        }
        const names = [...recent.entries()].map(({ slot, digest }) => `${slot} ${digest}`);
        expect(names).toHaveLength(young.size + old.size);
        const again = new RecentRequests(most);
        for (const { slot, digest } of recent.entries()) again.add(slot, digest);
        expect(new Set([...again.entries()].map(({ slot, digest }) => `${slot} ${digest}`))).toEqual(
          new Set(names),
        );
      }),
      { numRuns: 30 },
    );
  });

  it("takes 2.5 MiB for two generations of 32,768", () => {
    const recent = new RecentRequests(1 << 15);
    for (let i = 0; i < 2 ** 16 - 1; i++) recent.add(1, digestOf(i));
    expect(recent.bytes).toBe(2.5 * 2 ** 20);
  });
});
