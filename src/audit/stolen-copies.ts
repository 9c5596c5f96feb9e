/** What thieves do with copies of an adapter, in units of W: alone, and several accounts together. */
import { gaussians } from "./random-numbers.ts";
import { seededSource } from "./seeded-adapter.ts";

/** (rows, n) of each group. */
export type StolenCopy = readonly Float64Array[];

/** Error of a coefficient that was asked once: E, and what is rounded. */
export const ASKED_ONCE = 60;

/** What a thief may do to a copy; what is trained on a little moves along a few directions, and shakes. */
export const CHANGES: Record<string, (values: Float64Array) => Float64Array> = {
  scaled: (values) => values.map((value) => -2.5 * value),
  "noise as large as two marks": (values) => {
    const noise = gaussians(seededSource(9), values.length);
    return values.map((value, i) => value + 2 * ASKED_ONCE * noise[i]);
  },
  "a fifth pruned": (values) => {
    const least = values.map(Math.abs).sort()[Math.floor(values.length / 5)];
    return values.map((value) => (Math.abs(value) < least ? 0 : value));
  },
  "4 bits in blocks of 32": (values) => {
    const out = new Float64Array(values.length);
    for (let at = 0; at < values.length; at += 32) {
      const block = values.subarray(at, at + 32);
      const step = Math.max(...block.map(Math.abs)) / 7;
      for (const [i, value] of block.entries()) out[at + i] = Math.round(value / step) * step;
    }
    return out;
  },
  "trained on a little": (values) => {
    const [along, noise] = [gaussians(seededSource(1), 64), gaussians(seededSource(2), values.length)];
    return values.map((value, i) => value + 40 * along[i % 64] + 40 * noise[i]);
  },
};

/** What several accounts may do with their copies. */
export function* strategies(
  copies: readonly StolenCopy[],
  weights: readonly Int32Array[],
): Generator<[name: string, copy: StolenCopy]> {
  const random = seededSource(3);
  const coin = new Uint8Array(1);
  const flip = () => {
    random(coin);
    return coin[0];
  };
  const values = new Float64Array(copies.length);
  const each = (join: (values: Float64Array, w: number) => number): StolenCopy =>
    copies[0].map((first, g) => {
      const out = new Float64Array(first.length);
      for (let i = 0; i < out.length; i++) {
        for (let c = 0; c < copies.length; c++) values[c] = copies[c][g][i];
        out[i] = join(values, weights[g][i]);
      }
      return out;
    });
  const mean = (of: Float64Array) => of.reduce((a, b) => a + b, 0) / of.length;
  const midrange = (of: Float64Array) => {
    let [least, most] = [of[0], of[0]];
    for (const value of of) {
      if (value < least) least = value;
      if (value > most) most = value;
    }
    return (least + most) / 2;
  };
  /** The mean of those on the side of W where fewer are; where all are on one side, of all. */
  const minority = (of: Float64Array, w: number) => {
    let [plus, high, low] = [0, 0, 0];
    for (const value of of) {
      if (value > w) {
        plus++;
        high += value;
      } else low += value;
    }
    const minus = of.length - plus;
    return plus > 0 && (plus <= minus || minus === 0) ? high / plus : low / minus;
  };
  yield ["average", each(mean)];
  yield ["split entries", each((of) => of[flip() % of.length])];
  yield ["midrange", each(midrange)];
  yield ["minority", each(minority)];
  yield ["half minority", each((of, w) => (flip() % 2 === 0 ? minority(of, w) : mean(of)))];
  // As if they knew W where their signs differ.
  yield ["cancel", each((of, w) => (of.every((v) => v > w) || of.every((v) => v <= w) ? mean(of) : w))];
}
