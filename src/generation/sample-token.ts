/** Picking the next token from its logits. */

import { TacetError } from "../base/errors.ts";
import type { TokenDraw } from "./token-draw.ts";

export interface SampleOptions {
  /** Divides the logits. 0 or left out: the largest logit is taken. */
  readonly temperature?: number;
  /** Only the likeliest tokens that together reach this probability are drawn from; 1 or left out: all. */
  readonly topP?: number;
  /** Only this many of the likeliest tokens are drawn from; 0 or left out: all. */
  readonly topK?: number;
  /** Only tokens of at least this part of the likeliest one's probability are drawn from; 0 or left out: all. */
  readonly minP?: number;
}

/**
 * A token id: the largest logit (the first of equals) at temperature 0, else a draw from
 * softmax(logits / temperature) cut to topK, then to topP, then by minP, as Hugging Face orders them. Tokens that tie
 * with the last one kept are kept too.
 *
 * The draw is a race: token id has the speed of its weight, and arrives at draw.time(id) / weight. The first one is
 * taken, which each is in proportion to its weight, and two distributions that are close by have most often the same
 * winner: the share of draws in which they differ is at most 2d/(1 + d), d their distance in total variation.
 *
 * @throws TacetError bad_argument for options out of range, bad_checkpoint if a logit is NaN or none is finite
 */
export function sampleToken(logits: Float32Array, options: SampleOptions, draw: TokenDraw): number {
  const { temperature = 0, topP = 1, topK = 0, minP = 0 } = options;
  checkSampleOptions(options);
  const best = largest(logits);
  if (temperature === 0) return best;

  // Unnormalized probabilities: exp((logit - largest) / temperature), so the largest is 1.
  const weights = new Float64Array(logits.length);
  for (let id = 0; id < weights.length; id++)
    weights[id] = Math.exp((logits[id] - logits[best]) / temperature);
  const least = Math.max(leastKept(weights, topP, topK), minP);
  // The likeliest first: nearly all others are then seen to come later at a glance.
  let winner = best;
  let first = draw.time(best, Number.POSITIVE_INFINITY);
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id];
    if (weight < least || id === best) continue;
    const arrival = draw.time(id, first * weight) / weight;
    if (arrival >= first) continue;
    [winner, first] = [id, arrival];
  }
  return winner;
}

/** @throws TacetError bad_argument for options out of range */
export function checkSampleOptions({ temperature = 0, topP = 1, topK = 0, minP = 0 }: SampleOptions): void {
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY)) {
    throw new TacetError("bad_argument", "the temperature must be 0 or more");
  }
  if (!(topP > 0 && topP <= 1)) throw new TacetError("bad_argument", "top-p must be over 0 and at most 1");
  if (!(Number.isInteger(topK) && topK >= 0))
    throw new TacetError("bad_argument", "top-k must be 0 or a positive integer");
  if (!(minP >= 0 && minP <= 1)) throw new TacetError("bad_argument", "min-p must be from 0 to 1");
}

/** Index of the largest logit. Minus infinity stands for a token that must not come. */
function largest(logits: Float32Array): number {
  let best = -1;
  let value = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (Number.isNaN(logit)) throw notFinite();
    if (logit > value) {
      value = logit;
      best = id;
    }
  }
  if (!Number.isFinite(value)) throw notFinite();
  return best;
}

/**
 * Loading does not look at each weight, and what a provider adds is always finite. An answer that ends here shows the
 * provider no more than one that ends with its last token.
 */
function notFinite(): TacetError {
  return new TacetError("bad_checkpoint", "the model computes logits that are not finite numbers", {
    hint: "a weight is damaged: 'tacet inspect --base DIR --check-weights' reads all of them and names it",
  });
}

/** The smallest weight that topK, then topP lets through; the largest weight is 1. */
function leastKept(weights: Float64Array, topP: number, topK: number): number {
  const cut = topK > 0 && topK < weights.length;
  if (topP === 1 && !cut) return Number.MIN_VALUE; // weights that underflowed to 0 are never drawn
  const total = sumOf(weights);
  // Sorting takes the time, and few tokens nearly always hold enough: the small ones are sorted only if not.
  const likely = fallingAbove(weights, 2 ** -10, cut ? topK : weights.length);
  const enough = cut ? likely.length === topK : sumOf(likely) >= topP * total;
  const falling = enough ? likely : fallingAbove(weights, 0, cut ? topK : weights.length);
  return reach(falling, topP * (cut ? sumOf(falling) : total));
}

/** The `most` largest weights above a bound, falling. */
function fallingAbove(weights: Float64Array, bound: number, most: number): Float64Array {
  return weights
    .filter((weight) => weight > bound)
    .sort()
    .reverse()
    .subarray(0, most);
}

/** The entry at which the sum of the falling entries so far comes to `goal`; the last if it never does. */
function reach(falling: Float64Array, goal: number): number {
  let sum = 0;
  for (const weight of falling) {
    sum += weight;
    if (sum >= goal) return weight;
  }
  return falling[falling.length - 1];
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
