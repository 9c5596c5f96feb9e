/** Finds whether any eight bytes of some plaintext occur anywhere, at any offset, in captured bytes. */

const WINDOW = 8;

/** A window as a number, for a first look; equal numbers are compared byte by byte. */
function windowAt(view: DataView, at: number): number {
  return view.getUint32(at, true) * 2 ** 21 + (view.getUint32(at + 4, true) >>> 11);
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export class ByteSearch {
  readonly #haystacks: readonly Buffer[];
  #windows: Set<number> | undefined;

  constructor(haystacks: readonly Uint8Array[]) {
    this.#haystacks = haystacks.map((bytes) => Buffer.from(bytes));
  }

  /**
   * How many windows of the plaintext, taken every `step` bytes, occur. Windows with fewer than four distinct
   * bytes are left out: zeros and small integers stand everywhere.
   */
  count(plain: ArrayBufferView, step: number): number {
    this.#windows ??= this.#allWindows();
    const bytes = Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength);
    const view = viewOf(bytes);
    let found = 0;
    for (let at = 0; at + WINDOW <= bytes.length; at += step) {
      if (!this.#windows.has(windowAt(view, at))) continue;
      const window = bytes.subarray(at, at + WINDOW);
      if (new Set(window).size >= 4 && this.includes(window)) found++;
    }
    return found;
  }

  includes(text: string | Uint8Array): boolean {
    const wanted = Buffer.from(text as Uint8Array);
    return this.#haystacks.some((bytes) => bytes.includes(wanted));
  }

  #allWindows(): Set<number> {
    const windows = new Set<number>();
    for (const bytes of this.#haystacks) {
      const view = viewOf(bytes);
      for (let at = 0; at + WINDOW <= bytes.length; at++) windows.add(windowAt(view, at));
    }
    return windows;
  }
}
