/** What the first group of a pair adds to the deltas of the second (model/run/look-ahead.ts). */
import { PublicBasis } from "../pll/public-basis.ts";
import type { Kernels } from "../ring/kernels.ts";

/** All are read in each step: with more than that, waiting twice is cheaper. */
const MOST_BYTES = 256 << 20;

/** As entries of B′ are: products with results stay normal floats (pll/client-layer.ts, SMALLEST_RESULT). */
const withoutTiny = (effect: number): number =>
  Math.abs(effect) >= 2 ** -24 && Number.isFinite(effect) ? effect : 0;

export class PairEffects {
  readonly #kernels: Kernels;
  /** By second group: the first one, and a basis for each module of the second. */
  readonly #held = new Map<number, { readonly first: number; readonly bases: readonly PublicBasis[] }>();
  #bytes = 0;

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  has(second: number): boolean {
    return this.#held.has(second);
  }

  /**
   * @param effects (rank of `first`, outFeatures[i]) row-major for each module of `second`
   * @throws RangeError if all together get too large, or the kernels cannot hold them
   */
  add(first: number, second: number, outFeatures: readonly number[], effects: readonly Float32Array[]): void {
    const bytes = effects.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (this.#bytes + bytes > MOST_BYTES) throw new RangeError("the effects of pairs get too large");
    this.#bytes += bytes;
    const bases = effects.map((effect, i) => {
      const rank = effect.length / outFeatures[i];
      return new PublicBasis(this.#kernels, effect.map(withoutTiny), outFeatures[i], rank);
    });
    this.#held.set(second, { first, bases });
  }

  /** @throws RangeError unless the two are a pair */
  basesOf(first: number, second: number): readonly PublicBasis[] {
    const held = this.#held.get(second);
    if (held?.first !== first) throw new RangeError(`groups ${first} and ${second} are no pair`);
    return held.bases;
  }
}
