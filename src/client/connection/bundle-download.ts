/** A bundle on its way: parts in order, and together as many bytes as the Welcome said. */
import { ByteCollector } from "../../base/byte-collector.ts";
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
  readonly #received: ByteCollector;

  constructor(bytes: number, onProgress: (fraction: number) => void, settling: Settling) {
    this.#bytes = bytes;
    this.#onProgress = onProgress;
    this.#settling = settling;
    this.#received = new ByteCollector(bytes);
  }

  /**
   * @returns whether it was the last one: the bundle has been handed over
   * @throws TacetError bad_frame
   */
  part({ offset, data, last }: BundlePart): boolean {
    const received = this.#received;
    if (Number(offset) !== received.length || data.length === 0) throw outOfOrder();
    const length = received.length + data.length;
    if (length > this.#bytes || last !== (length === this.#bytes)) {
      throw new TacetError("bad_frame", "the bundle has another size than the provider said");
    }
    received.add(data);
    this.#onProgress(length / this.#bytes);
    if (last) this.#settling.resolve(received.take());
    return last;
  }

  fail(error: unknown): void {
    this.#settling.reject(error);
  }
}

/** Also for a part of a bundle that was not asked for. */
export const outOfOrder = (): TacetError =>
  new TacetError("bad_frame", "a part of the bundle came out of order");
