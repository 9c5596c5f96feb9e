/** What no budget pays for: rates of messages, refusals, repeats, bundles; by connection and by key. */
import { describe, expect, it } from "vitest";
import { KeyAllowances } from "./allowance.ts";

function start(mostConnections?: number) {
  const clock = { now: 5 };
  return { clock, allowances: new KeyAllowances(() => clock.now, mostConnections) };
}
const tooMany = expect.objectContaining({ code: "too_many_requests" });

/** How often a step goes well before it does not. */
function times(step: () => unknown): number {
  for (let count = 0; count < 10_000; count++) {
    try {
      if (step() === false) return count;
    } catch (error) {
      expect(error).toEqual(tooMany);
      return count;
    }
  }
  return Number.POSITIVE_INFINITY;
}

describe("an allowance", () => {
  it("bears some hundred refusals of a connection at once, and some a second", () => {
    const { clock, allowances } = start();
    const connection = allowances.enter();
    expect(times(() => connection.refused())).toBe(250);
    clock.now += 1000;
    expect(times(() => connection.refused())).toBe(25);
    expect(allowances.enter().refused()).toBe(true);
  });

  it("counts long queries that are repeated for more, and bundles", () => {
    const { allowances } = start();
    const connection = allowances.enter("b");
    expect(times(() => connection.repeated(256))).toBe(62);
    const other = allowances.enter("c");
    expect(times(() => other.bundle())).toBe(25);
  });

  it("of a key holds all its connections, those that come later too, and no other key's", () => {
    const { clock, allowances } = start();
    let refused = 0;
    const opened = times(() => {
      const connection = allowances.enter("busy");
      refused += times(() => connection.refused());
      connection.leave();
    });
    expect(opened).toBeLessThan(20);
    expect(refused).toBeLessThanOrEqual(16 * 250);
    expect(() => allowances.enter("busy")).toThrow(tooMany);
    expect(allowances.enter("calm").refused()).toBe(true);
    clock.now += 1000;
    expect(allowances.enter("busy").refused()).toBe(true);
  });

  it("lets a key with a rate send as many messages as it may ask vectors, over all connections", () => {
    const { clock, allowances } = start();
    const connections = [allowances.enter("k"), allowances.enter("k")];
    let next = 0;
    const send = () => connections[next++ % 2].message(100);
    expect(times(send)).toBe(3000); // 10 s at once, 20 s that wait
    clock.now += 1000;
    expect(times(send)).toBe(100);
    expect(() => allowances.enter("other").message(100)).not.toThrow();
    expect(() => allowances.enter("k").message(null)).not.toThrow();
  });

  it("holds a key to its connections, and counts those that have gone as gone, once", () => {
    const { allowances } = start(2);
    const first = allowances.enter("k");
    allowances.enter("k");
    expect(() => allowances.enter("k")).toThrow(tooMany);
    allowances.enter("other");
    first.leave();
    first.leave();
    allowances.enter("k");
    expect(() => allowances.enter("k")).toThrow(tooMany);
  });
});
