/** A thread that has no rows of a matrix, and comes late. */
import { expect, test, vi } from "vitest";
import { orderFor, SharedWork, WORD } from "./messages.ts";
import { serveProducts } from "./serve-products.ts";

test("a thread without rows that is late counts the next order once", () => {
  const work = SharedWork.make();
  const { words } = work;
  const serve = serveProducts(() => {});
  serve({ kind: "begin", shared: work.memory });
  const shape = { rows: 2, columns: 32, bits: 4, block: 32 } as const;
  serve({ kind: "place", id: 2, shape, hasZeroPoints: false, first: 0 });
  // As ProductTeam.multiply gives it.
  const give = (id: number): void => {
    words[WORD.tokens] = 1;
    words[WORD.rows] = 2;
    words[WORD.done] = 0;
    Atomics.store(words, WORD.orders, orderFor(id, words[WORD.orders]));
  };
  const load = Atomics.load;
  let late = true;
  vi.spyOn(Atomics, "load").mockImplementation(((array: Int32Array, at: number) => {
    const value = load(array, at);
    // The others are through with matrix 1 meanwhile, and matrix 2 is next.
    if (at === WORD.orders && late) {
      late = false;
      give(2);
    }
    return value;
  }) as typeof Atomics.load);
  vi.spyOn(Atomics, "wait").mockImplementation(((array: Int32Array, at: number, seen: number) => {
    if (load(array, at) === seen) Atomics.add(words, WORD.leaves, 1);
    return "ok";
  }) as typeof Atomics.wait);
  const orders = words[WORD.orders];
  give(1);
  try {
    serve({ kind: "listen", orders, leaves: 0 });
  } finally {
    vi.restoreAllMocks();
  }
  expect(words[WORD.done]).toBe(1);
});

test("a thread that can't multiply says so, and is through", () => {
  const work = SharedWork.make();
  const { words } = work;
  const serve = serveProducts(() => {});
  serve({ kind: "begin", shared: work.memory });
  const shape = { rows: 2, columns: 32, bits: 4, block: 32 } as const;
  serve({ kind: "place", id: 1, shape, hasZeroPoints: false, first: 0 });
  words[WORD.tokens] = 2 ** 30;
  words[WORD.rows] = 2;
  const before = words[WORD.orders];
  Atomics.store(words, WORD.orders, orderFor(1, before));
  const { wait } = Atomics;
  let waits = 0;
  vi.spyOn(Atomics, "wait").mockImplementation(((array: Int32Array, at: number, seen: number) => {
    // Then it is told to leave.
    if (++waits > 1) Atomics.add(words, WORD.leaves, 1);
    return wait(array, at, seen, 0);
  }) as typeof Atomics.wait);
  try {
    serve({ kind: "listen", orders: before, leaves: 0 });
  } finally {
    vi.restoreAllMocks();
  }
  expect([words[WORD.done], words[WORD.failed]]).toEqual([1, 1]);
});
