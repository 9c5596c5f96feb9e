/** How many keys an account gets: at first, by time, by use. */
import { describe, expect, it } from "vitest";
import { KeyRates } from "./key-rates.ts";

function start() {
  const clock = { now: 5_000 };
  const rates = new KeyRates(() => clock.now);
  /** Takes keys until one is refused; how many there were, and what was said. */
  const takeAll = (account = "ann") => {
    for (let taken = 0; ; taken++) {
      try {
        rates.take(account);
      } catch (error) {
        return { taken, error };
      }
    }
  };
  return { clock, rates, takeAll };
}

describe("KeyRates", () => {
  it("gives eight at first, then one every ten seconds, up to eight", () => {
    const { clock, takeAll } = start();
    expect(takeAll()).toMatchObject({
      taken: 8,
      error: { code: "too_many_requests", hint: expect.stringContaining("in 10 s") },
    });
    clock.now += 9_999;
    expect(takeAll()).toMatchObject({ taken: 0, error: { hint: expect.stringContaining("in 1 s") } });
    clock.now += 1;
    expect(takeAll().taken).toBe(1);
    clock.now += 25_000;
    expect(takeAll().taken).toBe(2);
    clock.now += 5_000;
    expect(takeAll().taken).toBe(1);
    clock.now += 3_600_000;
    expect(takeAll().taken).toBe(8);
    expect(takeAll("bob").taken).toBe(8);
  });

  it("gives one more for half a key's worth of vectors of the busiest group", () => {
    const { rates, takeAll } = start();
    takeAll();
    rates.charged("ann", "law", 0, 127, 256);
    rates.charged("ann", "law", 1, 127, 256);
    expect(takeAll().taken).toBe(0);
    rates.charged("ann", "law", 1, 1, 256);
    rates.charged("ann", "law", 0, 1, 256);
    expect(takeAll().taken).toBe(1);
    rates.charged("ann", "law", 0, 1024, 256);
    // A group that is asked less changes nothing.
    rates.charged("ann", "law", 2, 5, 256);
    expect(takeAll().taken).toBe(8);
  });

  it("lets earned ones be saved, as many as an account can have in use", () => {
    const { rates, clock, takeAll } = start();
    rates.charged("ann", "law", 0, 10 * 256, 256);
    clock.now += 3_600_000;
    expect(takeAll().taken).toBe(28);
    rates.charged("ann", "law", 0, 200 * 256, 256);
    expect(takeAll().taken).toBe(64);
  });

  it("stays bounded however many accounts come, and forgets none that owes time", () => {
    const { rates, takeAll, clock } = start();
    takeAll("busy");
    for (let i = 0; i < 10_050; i++) {
      rates.take(`account ${i}`);
      clock.now += 1;
    }
    expect(takeAll("busy").taken).toBe(1);
    clock.now += 20_000;
    rates.take("one more");
    expect(rates.size).toBeLessThan(100);
  });
});
