/**
 * The requests that were charged lately, by slot and digest: 20 bytes each in a table at most half full. Two
 * generations; the older one goes when the younger is full, so at least `most` and at most twice as many are known.
 */
import { systemRandom } from "../ring/random-source.ts";
import { REQUEST_DIGEST_BYTES } from "./usage-records.ts";

/** slot + 1 (0: no entry), and the digest's four words. */
const ENTRY_WORDS = 5;
const FIRST_ENTRIES = 256;

export class RecentRequests {
  readonly #most: number;
  /** Odd factors that nobody outside knows: clients choose digests, and can't aim them at one place of the table. */
  readonly #factors = new Uint32Array(ENTRY_WORDS);
  readonly #entry = new Uint32Array(ENTRY_WORDS);
  #young: Table;
  #old: Table;

  constructor(most: number) {
    this.#most = most;
    systemRandom(new Uint8Array(this.#factors.buffer));
    for (let i = 0; i < ENTRY_WORDS; i++) this.#factors[i] |= 1;
    this.#young = new Table(this.#factors);
    this.#old = new Table(this.#factors);
  }

  has(slot: number, digest: Uint8Array): boolean {
    const entry = this.#entryOf(slot, digest);
    return this.#young.has(entry) || this.#old.has(entry);
  }

  add(slot: number, digest: Uint8Array): void {
    this.#young.add(this.#entryOf(slot, digest));
    if (this.#young.size < this.#most) return;
    this.#old = this.#young;
    this.#young = new Table(this.#factors);
  }

  /** All that are known, the older generation first. */
  *entries(): Generator<{ slot: number; digest: Uint8Array }> {
    yield* this.#old.entries();
    yield* this.#young.entries();
  }

  /** Bytes of the tables. */
  get bytes(): number {
    return this.#young.bytes + this.#old.bytes;
  }

  #entryOf(slot: number, digest: Uint8Array): Uint32Array {
    this.#entry[0] = slot + 1;
    for (let word = 1, at = 0; word < ENTRY_WORDS; word++, at += 4) {
      this.#entry[word] =
        digest[at] | (digest[at + 1] << 8) | (digest[at + 2] << 16) | (digest[at + 3] << 24);
    }
    return this.#entry;
  }
}

/** A set of entries with open addressing; nothing is taken out of it. */
class Table {
  readonly #factors: Uint32Array;
  #words = new Uint32Array(ENTRY_WORDS * FIRST_ENTRIES);
  #shift = 32 - Math.log2(FIRST_ENTRIES);
  size = 0;

  constructor(factors: Uint32Array) {
    this.#factors = factors;
  }

  get bytes(): number {
    return this.#words.byteLength;
  }

  has(entry: Uint32Array): boolean {
    return this.#words[this.#find(entry)] !== 0;
  }

  add(entry: Uint32Array): void {
    const at = this.#find(entry);
    if (this.#words[at] !== 0) return;
    this.#words.set(entry, at);
    this.size++;
    if (2 * this.size * ENTRY_WORDS > this.#words.length) this.#grow();
  }

  *entries(): Generator<{ slot: number; digest: Uint8Array }> {
    for (let at = 0; at < this.#words.length; at += ENTRY_WORDS) {
      if (this.#words[at] === 0) continue;
      const digest = new Uint8Array(REQUEST_DIGEST_BYTES);
      const view = new DataView(digest.buffer);
      for (let word = 1; word < ENTRY_WORDS; word++) {
        view.setUint32(4 * (word - 1), this.#words[at + word], true);
      }
      yield { slot: this.#words[at] - 1, digest };
    }
  }

  /** Where the entry is, or where it would go. */
  #find(entry: Uint32Array): number {
    const words = this.#words;
    let sum = 0;
    for (let i = 0; i < ENTRY_WORDS; i++) sum = (sum + Math.imul(entry[i], this.#factors[i])) | 0;
    for (let at = (sum >>> this.#shift) * ENTRY_WORDS; ; at = (at + ENTRY_WORDS) % words.length) {
      if (words[at] === 0) return at;
      let i = 0;
      while (i < ENTRY_WORDS && words[at + i] === entry[i]) i++;
      if (i === ENTRY_WORDS) return at;
    }
  }

  #grow(): void {
    const before = this.#words;
    this.#words = new Uint32Array(2 * before.length);
    this.#shift--;
    for (let at = 0; at < before.length; at += ENTRY_WORDS) {
      if (before[at] === 0) continue;
      const entry = before.subarray(at, at + ENTRY_WORDS);
      this.#words.set(entry, this.#find(entry));
    }
  }
}
