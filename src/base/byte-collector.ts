/**
 * Joins bytes that come in parts, in one piece of memory that grows. A list of parts would cost some hundred bytes for
 * each of them: of parts of one byte a hundred times what they hold.
 */
const FIRST_BYTES = 4096;

export class ByteCollector {
  readonly #most: number;
  #bytes = new Uint8Array(0);
  #length = 0;

  /** @param most bytes that may come; memory is taken for what has come, at most twice that, and never for more */
  constructor(most: number) {
    this.#most = most;
  }

  /** Bytes that have come. */
  get length(): number {
    return this.#length;
  }

  /** Copies a part. @throws RangeError if that makes more than there may be */
  add(part: Uint8Array): void {
    const needed = this.#length + part.length;
    if (needed > this.#most) throw new RangeError(`more than ${this.#most} bytes`);
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(
        Math.min(this.#most, Math.max(needed, 2 * this.#bytes.length, FIRST_BYTES)),
      );
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(part, this.#length);
    this.#length = needed;
  }

  /** All of it; nothing can be added any more. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    this.#bytes = new Uint8Array(0);
    return bytes.length === this.#length ? bytes : bytes.slice(0, this.#length);
  }
}
