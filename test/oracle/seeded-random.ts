/** Deterministic randomness for tests: never imported by src/. */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { utf8 } from "../../src/base/bytes.ts";
import type { RandomSource } from "../../src/ring/random-source.ts";

/** The ChaCha20 key stream under SHA-256(seed); each call goes on with a fresh nonce. */
export function seededRandom(seed: string): RandomSource {
  const key = sha256(utf8(seed));
  const nonce = new Uint8Array(12);
  const counter = new DataView(nonce.buffer);
  return (out) => {
    counter.setUint32(0, counter.getUint32(0, true) + 1, true);
    chacha20(key, nonce, new Uint8Array(out.length), out);
  };
}

/** `count` uniform words. */
export function randomWords(random: RandomSource, count: number): Uint32Array {
  const words = new Uint32Array(count);
  random(new Uint8Array(words.buffer));
  return words;
}

/** `count` integers in [low, high], near enough uniform for test inputs. */
export function randomIntegers(random: RandomSource, count: number, low: number, high: number): Int16Array {
  return Int16Array.from(randomWords(random, count), (word) => low + (word % (high - low + 1)));
}
