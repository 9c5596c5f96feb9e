/** Numbers from a source of random bytes. */
import type { RandomSource } from "../ring/random-source.ts";

export function randomWords(random: RandomSource, count: number): Uint32Array {
  const words = new Uint32Array(count);
  random(new Uint8Array(words.buffer));
  return words;
}

export function randomBytes(random: RandomSource, count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  random(bytes);
  return bytes;
}

/** Standard normal, Box–Muller on 32-bit uniforms: enough for data that imitate activations and weights. */
export function gaussians(random: RandomSource, count: number): Float64Array {
  const words = randomWords(random, 2 * count);
  return Float64Array.from({ length: count }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log((words[2 * i] + 1) / 2 ** 32));
    return radius * Math.cos((2 * Math.PI * words[2 * i + 1]) / 2 ** 32);
  });
}

/** Uniform integers in [low, high]; the interval's size must be far below 2^32. */
export function uniformIntegers(random: RandomSource, count: number, low: number, high: number): Int32Array {
  const size = high - low + 1;
  return Int32Array.from(randomWords(random, count), (word) => low + Math.floor((word / 2 ** 32) * size));
}
