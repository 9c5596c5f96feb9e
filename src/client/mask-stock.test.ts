/** When masks are made, that none is given out twice, and that none is left behind. */
import { afterEach, describe, expect, it } from "vitest";
import type { ClientLayer } from "../pll/client-layer.ts";
import type { OneTimeMasks } from "../pll/one-time-masks.ts";
import { MaskStock } from "./mask-stock.ts";

/** Counts masks instead of making them. */
class CountingLayer {
  readonly maskBytes: number;
  readonly made: OneTimeMasks[] = [];
  readonly batches: number[] = [];
  readonly discarded: OneTimeMasks[] = [];

  constructor(maskBytes: number) {
    this.maskBytes = maskBytes;
  }

  prepareMasks(vectors: number): OneTimeMasks {
    const masks = { vectors, layer: this, number: this.made.length } as unknown as OneTimeMasks;
    this.made.push(masks);
    return masks;
  }

  prepareSingles(count: number): OneTimeMasks[] {
    this.batches.push(count);
    return Array.from({ length: count }, () => this.prepareMasks(1));
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
  const layers = Array.from({ length: groups }, () => new CountingLayer(maskBytes));
  const stock = new MaskStock(layers as unknown as ClientLayer[]);
  stocks.push(stock);
  return { layers, stock };
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 40));

describe("in idle time", () => {
  it("fills every group up to 64 vectors, and then rests", async () => {
    const { layers, stock } = stockOf(3);
    await stock.ready();
    expect(layers.map(({ made }) => made.length)).toEqual([64, 64, 64]);
    expect(stock.idleVectors).toBe(192);
    await soon();
    expect(layers.map(({ made }) => made.length)).toEqual([64, 64, 64]);
  });

  it("takes turns: no group is full while another is empty", async () => {
    const { layers, stock } = stockOf(4);
    let widest = 0;
    const poll = setInterval(() => {
      const sizes = layers.map(({ made }) => made.length);
      widest = Math.max(widest, Math.max(...sizes) - Math.min(...sizes));
    }, 0);
    await stock.ready();
    clearInterval(poll);
    expect(widest).toBeLessThanOrEqual(8);
  });

  it("keeps to 64 MiB where masks are large, and has room for one at least", async () => {
    const { layers, stock } = stockOf(2, 4 << 20); // 8 MiB for a vector of both groups
    await stock.ready();
    expect(layers.map(({ made }) => made.length)).toEqual([8, 8]);
    const huge = stockOf(2, 60 << 20);
    await huge.stock.ready();
    expect(huge.layers.map(({ made }) => made.length)).toEqual([1, 1]);
  });

  it("starts only when nothing has been taken for a moment, and when it is told that it may", async () => {
    const { layers, stock } = stockOf(1);
    stock.take(0, 1);
    const before = layers[0].made.length;
    await soon();
    expect(layers[0].made.length).toBe(before);
    stock.rest();
    await stock.ready();
    expect(layers[0].made.length).toBe(64 + 1);
  });
});

describe("take", () => {
  it("never gives the same masks twice", async () => {
    const { stock } = stockOf(2);
    await stock.ready();
    const taken = Array.from({ length: 200 }, (_, i) => stock.take(i % 2, 1));
    expect(new Set(taken).size).toBe(200);
  });

  it("makes several at once for a group that has run out, each group another number", () => {
    const { layers, stock } = stockOf(8);
    for (let group = 0; group < 8; group++) stock.take(group, 1);
    expect(layers.map(({ batches }) => batches[0]).sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("makes masks of several vectors for their query alone", async () => {
    const { layers, stock } = stockOf(1);
    await stock.ready();
    expect(stock.take(0, 5).vectors).toBe(5);
    expect(layers[0].made.length).toBe(65);
  });

  it("ensure makes masks where there are none, and only there", async () => {
    const { layers, stock } = stockOf(1);
    stock.ensure(0);
    const some = layers[0].made.length;
    expect(some).toBeGreaterThan(0);
    stock.ensure(0);
    expect(layers[0].made.length).toBe(some);
  });
});

describe("dispose", () => {
  it("wipes what was not taken, once, and makes nothing more", async () => {
    const { layers, stock } = stockOf(2);
    await stock.ready();
    const taken = [stock.take(0, 1), stock.take(1, 1)];
    stock.rest();
    stock.dispose();
    stock.dispose();
    for (const [group, { made, discarded }] of layers.entries()) {
      expect(new Set(discarded)).toEqual(new Set(made.filter((masks) => masks !== taken[group])));
      expect(discarded).toHaveLength(63);
    }
    await soon();
    stock.rest();
    await stock.ready();
    await soon();
    expect(layers.map(({ made }) => made.length)).toEqual([64, 64]);
  });
});
