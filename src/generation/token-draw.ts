/**
 * The random numbers of one request: for each position of the context and each token of the vocabulary one, made from
 * the seed alone. So what is drawn at a position depends on the seed and on the distribution there, and on nothing that
 * was drawn before: a draft that was drawn from a distribution close by is most often the same token.
 */

import { TacetError } from "../base/errors.ts";

/** What one token is drawn with. */
export interface TokenDraw {
  /**
   * The time of a token, exponentially distributed with mean 1. Of tokens with weights w that run with
   * speed w, the first one is a draw in proportion to the weights.
   *
   * @param bound Infinity may be given instead of a time above it
   */
  time(id: number, bound: number): number;
}

/**
 * NOT cryptographic: no key, mask or noise may come from here.
 *
 * Four words from sfc32 (C. Doty-Humphrey, PractRand), seeded with seed and position; then for each token a word or two
 * by the mixer lowbias32 (C. Wellons), which lets every bit of its input change half of its output.
 *
 * @param seed an integer of at most 53 bits
 * @param position tokens of the context before the one that is drawn
 */
export function tokenDraw(seed: number, position: number): TokenDraw {
  checkSeed(seed);
  const [a, b, c, d] = keyWords(seed, position);
  return {
    time(id, bound) {
      const high = mix(mix(id ^ a) + b);
      // At least this; the logarithm is for those that may be the first.
      if (high / 2 ** 32 > bound) return Number.POSITIVE_INFINITY;
      const low = mix(mix(id ^ c) + d);
      return -Math.log1p(-(high + (low + 0.5) / 2 ** 32) / 2 ** 32);
    },
  };
}

/** @throws TacetError bad_argument */
export function checkSeed(seed: number): void {
  if (Number.isSafeInteger(seed)) return;
  throw new TacetError("bad_argument", "the seed must be an integer of at most 53 bits");
}

export function randomSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}

function keyWords(seed: number, position: number): readonly number[] {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = position | 0;
  let counter = 1;
  const next = (): number => {
    const out = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + out) | 0;
    return out;
  };
  // As its author does: until every bit of the state depends on every bit of seed and position.
  for (let i = 0; i < 16; i++) next();
  return [next(), next(), next(), next()];
}

/** A permutation of 32-bit words; the result is in [0, 2^32). */
function mix(word: number): number {
  let x = word | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
