/** Counts: exact, for each account and group, over restarts and compactions; a replay costs nothing. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { TacetError } from "../base/errors.ts";
import { windowStart } from "./asked-counts.ts";
import { type Grant, type Reservation, scopeOf } from "./store.ts";
import { UsageLedger } from "./usage-ledger.ts";

const RUNS = process.env.SLOW ? 2_000 : 150;
const DAY = 86_400;
const digest = (n: number) => new Uint8Array(16).fill(n & 255, 0, 8).fill(n >> 8, 8);
let fresh = 1000;
const ask = (change: Partial<Reservation> = {}): Reservation => ({
  account: "ada",
  adapter: "law",
  scope: "group 0",
  digest: digest(fresh++),
  vectors: 1,
  nowMs: 1e12,
  ...change,
});
const TEN = [{ vectors: 10, windowSeconds: 0 }];

/** What a ledger says, in short. */
function told(ledger: UsageLedger, request: Reservation, budgets: readonly Grant[] = TEN) {
  const { granted, replayed, remaining } = ledger.reserve(request, budgets);
  return { granted, replayed, left: remaining?.left };
}

describe("UsageLedger", () => {
  it("grants to the last vector and not one more, all of a request or none", () => {
    const ledger = new UsageLedger(memoryJournal(), []);
    expect(told(ledger, ask({ vectors: 8 }))).toEqual({ granted: true, replayed: false, left: 2 });
    expect(told(ledger, ask({ vectors: 3 }))).toEqual({ granted: false, replayed: false, left: 2 });
    expect(told(ledger, ask({ vectors: 2 }))).toEqual({ granted: true, replayed: false, left: 0 });
    expect(told(ledger, ask())).toMatchObject({ granted: false, left: 0 });
    expect(told(ledger, ask({ scope: "group 1" }))).toMatchObject({ granted: true, left: 9 });
    expect(told(ledger, ask({ account: "bob" }))).toMatchObject({ granted: true, left: 9 });
  });

  it("does not charge a request twice, not after a restart either, and answers it when the budget is spent", () => {
    const journal = memoryJournal();
    const request = ask({ vectors: 10 });
    expect(told(new UsageLedger(journal, []), request)).toMatchObject({ granted: true, left: 0 });
    const again = new UsageLedger(journal, journal.records);
    expect(told(again, request)).toEqual({ granted: true, replayed: true, left: 0 });
    expect(told(again, { ...request, scope: "group 1" })).toMatchObject({ replayed: false });
    expect(told(again, { ...request, account: "bob" })).toMatchObject({ replayed: false });
  });

  it("grants nothing that is not written", () => {
    const journal = memoryJournal();
    const ledger = new UsageLedger(journal, []);
    told(ledger, ask());
    journal.failure = new TacetError("io_failed", "full");
    const request = ask();
    expect(() => told(ledger, request)).toThrow(journal.failure);
    journal.failure = undefined;
    expect(told(ledger, request)).toEqual({ granted: true, replayed: false, left: 8 });
  });

  it("renews a window's budget when the next one begins, and not when the clock steps back a little", () => {
    const ledger = new UsageLedger(memoryJournal(), []);
    const budget: Grant = { vectors: 5, windowSeconds: DAY };
    const midnight = windowStart(1e12, DAY) + 1000 * DAY;
    const at = (nowMs: number, vectors = 5) => told(ledger, ask({ vectors, nowMs }), [budget]);
    expect(at(midnight - 1)).toMatchObject({ granted: true, left: 0 });
    expect(at(midnight - 1, 1)).toMatchObject({ granted: false, left: 0 });
    expect(at(midnight)).toMatchObject({ granted: true, left: 0 });
    expect(at(midnight - 1, 1)).toMatchObject({ granted: false, left: 0 });
    const left = (scope: string, nowMs: number) =>
      ledger.counts("ada", scope).remaining([budget], nowMs)?.left;
    expect([left("group 0", midnight + 5), left("new", midnight + 5)]).toEqual([0, 5]);
    expect(left("group 0", midnight + 1000 * DAY)).toBe(5);
  });

  it("counts what an unlimited account asks, so that a budget set later knows of it", () => {
    const ledger = new UsageLedger(memoryJournal(), []);
    expect(told(ledger, ask({ vectors: 9 }), [])).toEqual({
      granted: true,
      replayed: false,
      left: undefined,
    });
    expect(told(ledger, ask({ vectors: 2 }))).toMatchObject({ granted: false, left: 1 });
  });

  it("remembers the latest requests and no more than twice as many", () => {
    const journal = memoryJournal();
    const ledger = new UsageLedger(journal, [], { remembered: 4 });
    const requests = Array.from({ length: 20 }, () => ask());
    for (const request of requests) told(ledger, request, []);
    const restored = new UsageLedger(journal, journal.records, { remembered: 4 });
    for (const from of [ledger, restored]) {
      for (const request of requests.slice(-4)) expect(told(from, request, []).replayed).toBe(true);
      expect(told(from, requests[10], []).replayed).toBe(false);
    }
  });

  it("refuses records that are none of its own", () => {
    for (const record of [new Uint8Array(3), new Uint8Array(40), Uint8Array.of(1, 9, 0, 0, 0, 0, 0)]) {
      expect(() => new UsageLedger(memoryJournal(), [record])).toThrow(
        expect.objectContaining({ code: "bad_state" }),
      );
    }
  });

  it("is a plain sum, whatever is asked and however often it is restarted or compacted", () => {
    const request = fc.record({
      account: fc.constantFrom("ada", "bob"),
      scope: fc.constantFrom("g0", "g1"),
      id: fc.integer({ min: 0, max: 30 }),
      vectors: fc.integer({ min: 1, max: 5 }),
      restart: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 60 }),
        fc.constantFrom(1, 300, 1 << 20),
        (requests, compactBytes) => {
          const journal = memoryJournal();
          const budget = { vectors: 20, windowSeconds: 0 };
          const used = new Map<string, number>();
          const seen = new Set<string>();
          let ledger = new UsageLedger(journal, [], { compactBytes });
          for (const { account, scope, id, vectors, restart } of requests) {
            if (restart) ledger = new UsageLedger(journal, journal.records, { compactBytes });
            const name = `${account} ${scope}`;
            const before = used.get(name) ?? 0;
            const replayed = seen.has(`${name} ${id}`);
            const granted = replayed || before + vectors <= 20;
            const got = told(ledger, ask({ account, scope, digest: digest(id), vectors }), [budget]);
            expect(got).toMatchObject({ granted, replayed });
            if (granted && !replayed) {
              used.set(name, before + vectors);
              seen.add(`${name} ${id}`);
            }
            expect(got.left).toBe(20 - (used.get(name) ?? 0));
          }
          const totals = new Map(
            ledger.usage().map(({ account, scope, total }) => [`${account} ${scope}`, total]),
          );
          for (const [name, total] of used) expect(totals.get(name)).toBe(total);
        },
      ),
      { numRuns: RUNS },
    );
  });
});

describe("scopeOf", () => {
  it("is the adapter, its base and the modules, in any order; not the version", () => {
    const base = "ab".repeat(32);
    expect(scopeOf("law", base, ["v", "q"])).toBe(scopeOf("law", base, ["q", "v"]));
    const others = [
      scopeOf("law2", base, ["q", "v"]),
      scopeOf("law", "cd".repeat(32), ["q", "v"]),
      scopeOf("law", base, ["q"]),
    ];
    expect(new Set([...others, scopeOf("law", base, ["q", "v"])]).size).toBe(4);
  });
});
