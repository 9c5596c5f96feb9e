/**
 * `normalizer_spec.precompiled_charsmap`: replacements of character sequences (NFKC, mostly).
 *
 * Bytes: u32 length of the trie, little-endian; the trie, a double array of u32 units; the replacements, each
 * closed by a zero byte. A key's value is where its replacement begins.
 *
 * A unit of the double array (Darts-clone): bit 8: a value hangs below; bits 10 … 30: offset, times 256 if bit 9 is
 * set; bits 0 … 7 and 31: the byte that leads here. A value's unit holds it in bits 0 … 30.
 */

import { TacetError } from "../../base/errors.ts";

export interface Replacement {
  /** UTF-8 bytes taken from the input. */
  readonly taken: number;
  readonly text: string;
}

/** Most bytes that one sequence may become; NFKC's longest has 33. Without a bound, a short text could grow huge. */
const MAX_REPLACEMENT = 1024;

export class CharsMap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;

  /** @throws TacetError bad_tokenizer unless the lengths fit and the replacements are short */
  constructor(bytes: Uint8Array, path: string) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = bytes.length >= 4 ? view.getUint32(0, true) : 0;
    const fits = length > 0 && length % 4 === 0 && length < bytes.length - 4 && bytes.at(-1) === 0;
    if (!fits || longestText(bytes.subarray(4 + length)) > MAX_REPLACEMENT) {
      throw new TacetError("bad_tokenizer", `${path}: normalizer_spec.precompiled_charsmap is damaged`, {
        hint: "download the file again",
      });
    }
    this.#units = Uint32Array.from({ length: length / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#texts = bytes.subarray(4 + length);
  }

  /** The replacement of the longest sequence that stands at `at`, undefined if none does. */
  longest(input: Uint8Array, at: number): Replacement | undefined {
    let taken = 0;
    let value = -1;
    // Out of range reads undefined, and so 0: a damaged trie ends the walk.
    let node = offsetOf(this.#units[0] ?? 0);
    for (let i = at; i < input.length; i++) {
      node ^= input[i];
      const unit = this.#units[node] ?? 0;
      if ((unit & 0x800000ff) >>> 0 !== input[i]) break;
      node ^= offsetOf(unit);
      if ((unit >>> 8) & 1) {
        taken = i + 1 - at;
        value = (this.#units[node] ?? 0) & 0x7fffffff;
      }
    }
    if (value < 0) return undefined;
    const end = this.#texts.indexOf(0, value);
    return {
      taken,
      text: new TextDecoder("utf-8").decode(this.#texts.subarray(value, Math.max(value, end))),
    };
  }
}

/** Bytes of the longest text between two zero bytes. */
function longestText(texts: Uint8Array): number {
  let longest = 0;
  for (let from = 0; from < texts.length; ) {
    const end = texts.indexOf(0, from);
    longest = Math.max(longest, end - from);
    from = end + 1;
  }
  return longest;
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
