/** A bundle on its way: parts in order, and together as many bytes as the Welcome said. */
import { concatBytes } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { ProviderMessage } from "../../wire/frames.ts";

type BundlePart = Extract<ProviderMessage, { case: "bundlePart" }>["value"];

interface Settling {
  resolve(bytes: Uint8Array): void;
  reject(error: unknown): void;
}

export class BundleDownload {
  readonly #bytes: number;
  readonly #onProgress: (fraction: number) => void;
  readonly #settling: Settling;
  readonly #parts: Uint8Array[] = [];
  #received = 0;

  constructor(bytes: number, onProgress: (fraction: number) => void, settling: Settling) {
    this.#bytes = bytes;
    this.#onProgress = onProgress;
    this.#settling = settling;
  }

  /**
   * @returns whether it was the last one: the bundle has been handed over
   * @throws TacetError bad_frame
   */
  part({ offset, data, last }: BundlePart): boolean {
    if (Number(offset) !== this.#received || data.length === 0) throw outOfOrder();
    this.#received += data.length;
    if (this.#received > this.#bytes || last !== (this.#received === this.#bytes)) {
      throw new TacetError("bad_frame", "the bundle has another size than the provider said");
    }
    this.#parts.push(data.slice());
    this.#onProgress(this.#received / this.#bytes);
    if (last) this.#settling.resolve(concatBytes(...this.#parts));
    return last;
  }

  fail(error: unknown): void {
    this.#settling.reject(error);
  }
}

/** Also for a part of a bundle that was not asked for. */
export const outOfOrder = (): TacetError =>
  new TacetError("bad_frame", "a part of the bundle came out of order");
