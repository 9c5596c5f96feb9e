/** When a poller stays awake. Time and turns of the event loop are set by the test. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Poller, usualPollMicros } from "./polling.ts";

let now = 0;
let turns: (() => void)[] = [];
beforeEach(() => {
  now = 1000;
  turns = [];
  vi.spyOn(performance, "now").mockImplementation(() => now);
  vi.spyOn(globalThis, "setImmediate").mockImplementation(((turn: () => void) => {
    turns.push(turn);
  }) as unknown as typeof setImmediate);
});
afterEach(() => vi.restoreAllMocks());

/** Runs the event loop's turns until it would sleep; gives how long that was, in microseconds. */
function awakeMicros(stepMicros = 100, arriveAfter = Number.POSITIVE_INFINITY, poller?: Poller): number {
  const start = now;
  while (turns.length > 0) {
    const turn = turns.shift() as () => void;
    turn();
    now += stepMicros / 1000;
    if ((now - start) * 1000 >= arriveAfter) poller?.arrived();
    if ((now - start) * 1000 > 1e6) return Number.POSITIVE_INFINITY;
  }
  return (now - start) * 1000;
}

/** A message that came `micros` after it was expected. */
function cycle(poller: Poller, micros: number): void {
  poller.expect();
  now += micros / 1000;
  poller.arrived();
  awakeMicros();
}

describe("Poller", () => {
  it("stays awake for a message that is due, and no longer than it was told", () => {
    const poller = new Poller(2000);
    poller.expect();
    const awake = awakeMicros();
    expect(awake).toBeGreaterThanOrEqual(2000);
    expect(awake).toBeLessThan(2400);
  });

  it("sleeps at the next turn after the message came", () => {
    const poller = new Poller(2000);
    poller.expect();
    expect(awakeMicros(100, 500, poller)).toBeLessThan(800);
  });

  it("never wakes where polling is off", () => {
    const poller = new Poller(0);
    poller.expect();
    poller.arrived();
    expect(turns).toEqual([]);
  });

  it("has one turn under way, however often a message is expected", () => {
    const poller = new Poller(2000);
    for (let i = 0; i < 5; i++) poller.expect();
    expect(turns).toHaveLength(1);
  });

  it("stops where messages take longer than it may wait, and starts again when they come soon", () => {
    const poller = new Poller(2000);
    for (let i = 0; i < 30; i++) cycle(poller, 20_000);
    poller.expect();
    expect(turns).toEqual([]);
    for (let i = 0; i < 60; i++) cycle(poller, 100);
    poller.expect();
    expect(turns).toHaveLength(1);
  });

  it("is not put off by one long pause", () => {
    const poller = new Poller(2000);
    for (let i = 0; i < 10; i++) cycle(poller, 1000);
    cycle(poller, 3_600_000_000);
    poller.expect();
    expect(turns).toHaveLength(1);
  });

  it("learns nothing from a message that nobody expected", () => {
    const poller = new Poller(2000);
    cycle(poller, 100);
    now += 1e6;
    for (let i = 0; i < 10; i++) poller.arrived();
    poller.expect();
    expect(turns).toHaveLength(1);
  });
});

it("is short where a base model may want all cores", () => {
  expect([usualPollMicros(1), usualPollMicros(2), usualPollMicros(3)]).toEqual([500, 500, 2000]);
});
