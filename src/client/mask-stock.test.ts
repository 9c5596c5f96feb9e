/** When masks are made, that none is given out twice, and that none is left behind. */
import { afterEach, describe, expect, it } from "vitest";
import type { MaskSource, OneTimeMasks } from "../rlwe/mask-source.ts";
import { clientStock, MaskStock } from "./mask-stock.ts";

/** Counts masks instead of making them. */
class CountingSource {
  readonly made: OneTimeMasks[] = [];
  readonly discarded: OneTimeMasks[] = [];
  readonly joined: OneTimeMasks[] = [];

  readonly maskBytes: number;

  constructor(maskBytes: number) {
    this.maskBytes = maskBytes;
  }

  make(vectors: number): OneTimeMasks {
    return this.#add(vectors, true);
  }

  draw(vectors: number): OneTimeMasks {
    return this.#add(vectors, false);
  }

  #add(vectors: number, hasProduct: boolean): OneTimeMasks {
    const masks = { vectors, hasProduct, number: this.made.length } as unknown as OneTimeMasks;
    this.made.push(masks);
    return masks;
  }

  join(singles: readonly OneTimeMasks[]): OneTimeMasks {
    this.joined.push(...singles);
    return { vectors: singles.length, hasProduct: true } as unknown as OneTimeMasks;
  }

  discard(masks: OneTimeMasks): void {
    this.discarded.push(masks);
  }
}

const stocks: MaskStock[] = [];
afterEach(() => {
  for (const stock of stocks.splice(0)) stock.dispose();
});

function stockOf(groups: number, maskBytes = 1000) {
  const source = new CountingSource(maskBytes);
  const idle: boolean[] = [];
  const onIdle = (isIdle: boolean) => void idle.push(isIdle);
  const stock = new MaskStock(source as unknown as MaskSource, { ...clientStock(groups), onIdle });
  stocks.push(stock);
  return { source, stock, idle };
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 40));

describe("in idle time", () => {
  it("fills up to 192 vectors for each group, and then rests", async () => {
    const { source, stock } = stockOf(3);
    await stock.ready();
    expect(source.made).toHaveLength(576);
    expect(stock.idleVectors).toBe(576);
    await soon();
    expect(source.made).toHaveLength(576);
  });

  it("keeps to 128 MiB where masks are large, and has room for one at least", async () => {
    const { source, stock } = stockOf(2, 4 << 20);
    await stock.ready();
    expect(source.made).toHaveLength(32);
    const huge = stockOf(2, 144 << 20);
    await huge.stock.ready();
    expect(huge.source.made).toHaveLength(1);
  });

  it("keeps half of what there is when memory can't grow any more", async () => {
    const { source, stock } = stockOf(3);
    const make = source.make.bind(source);
    source.make = (vectors) => {
      if (source.made.length === 100) throw new RangeError("the memory cannot grow");
      return make(vectors);
    };
    await stock.ready();
    expect(stock.isFull).toBe(true);
    expect(source.made.length - source.discarded.length).toBe(48);
    expect(stock.take(1)).toMatchObject({ vectors: 1 });
  });

  it("starts only when nothing has been taken for a moment, and when it is told that it may", async () => {
    const { source, stock } = stockOf(1);
    stock.take(1);
    const before = source.made.length;
    await soon();
    expect(source.made).toHaveLength(before);
    stock.rest();
    await stock.ready();
    expect(source.made).toHaveLength(192 + 1);
  });
});

it("says when idle work may be done, and when it must stop", async () => {
  const { stock, idle } = stockOf(1);
  expect(idle).toEqual([]);
  await stock.ready();
  stock.rest();
  await soon();
  expect(idle).toEqual([true]);
  stock.take(1);
  stock.take(1);
  expect(idle).toEqual([true, false]);
});

describe("take", () => {
  it("never gives the same masks twice", async () => {
    const { stock } = stockOf(2);
    await stock.ready();
    const taken = Array.from({ length: 200 }, () => stock.take(1));
    expect(new Set(taken).size).toBe(200);
  });

  it("makes a few at once where there are none left", () => {
    const { source, stock } = stockOf(8);
    stock.take(1);
    expect(source.made).toHaveLength(4);
    for (let i = 0; i < 3; i++) stock.take(1);
    expect(source.made).toHaveLength(4);
  });

  it("gives several vectors masks of the stock as long as an answer's stay, each to one query", async () => {
    const { source, stock } = stockOf(1);
    await stock.ready();
    expect(stock.take(100)).toMatchObject({ vectors: 100, hasProduct: true });
    expect(stock.take(28)).toMatchObject({ vectors: 28, hasProduct: true });
    expect(new Set(source.joined).size).toBe(128);
    // Drawn for this query alone: a_0·s comes with it.
    expect(stock.take(5)).toMatchObject({ vectors: 5, hasProduct: false });
    const singles = Array.from({ length: 64 }, () => stock.take(1));
    expect(singles.every(({ vectors, hasProduct }) => vectors === 1 && hasProduct)).toBe(true);
    expect(singles.some((masks) => source.joined.includes(masks))).toBe(false);
    expect(source.made).toHaveLength(193);
  });

  it("draws masks of several vectors where the stock is not full", () => {
    const { source, stock } = stockOf(1);
    expect(stock.take(5)).toMatchObject({ vectors: 5, hasProduct: false });
    expect(source.joined).toHaveLength(0);
  });

  it("ensure makes masks where there are none, and only there", () => {
    const { source, stock } = stockOf(1);
    stock.ensure();
    expect(source.made).toHaveLength(4);
    stock.ensure();
    expect(source.made).toHaveLength(4);
  });
});

describe("dispose", () => {
  it("wipes what was not taken, once, and makes nothing more", async () => {
    const { source, stock } = stockOf(2);
    await stock.ready();
    const taken = stock.take(1);
    stock.rest();
    stock.dispose();
    stock.dispose();
    expect(new Set(source.discarded)).toEqual(new Set(source.made.filter((masks) => masks !== taken)));
    expect(source.discarded).toHaveLength(383);
    await soon();
    stock.rest();
    await stock.ready();
    expect(source.made).toHaveLength(384);
  });
});
