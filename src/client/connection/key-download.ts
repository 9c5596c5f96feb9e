/**
 * A key on its way: KeyMade, then one part for each group, in order, the last one signed for all. What is no key of the
 * bundle ends it. No part leaves this class before all have come and the signature over them holds.
 */
import { equalBytes } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { KEY_ID_BYTES } from "../../pll/key-secrets.ts";
import type { EncryptedWeights } from "../../pll/encrypted-weights.ts";
import type { KeyFormat } from "../key-format.ts";
import type { FetchedKey } from "../keys.ts";

export interface KeyRequest {
  readonly format: KeyFormat;
  /** A key that was asked for before; undefined: a new one. */
  readonly keyId?: Uint8Array | undefined;
  /** Vectors that a new key answers. */
  readonly vectorsPerKey: number;
  /** KeyMade has come: from here on the same key may be asked for again. */
  readonly onMade?: ((keyId: Uint8Array) => void) | undefined;
}

interface ReceivedPart extends EncryptedWeights {
  readonly group: number;
  readonly signature: Uint8Array;
}

interface Settling {
  resolve(key: FetchedKey): void;
  reject(error: unknown): void;
}

export class KeyDownload {
  readonly #request: KeyRequest;
  readonly #settling: Settling;
  readonly #parts: EncryptedWeights[] = [];
  readonly #digests: (Uint8Array | Promise<Uint8Array>)[] = [];
  #made: { readonly id: Uint8Array; readonly vectorsLeft: number } | undefined;

  constructor(request: KeyRequest, settling: Settling) {
    this.#request = request;
    this.#settling = settling;
  }

  /** @throws TacetError bad_key, bad_frame */
  made({ keyId, vectorsLeft }: { readonly keyId: Uint8Array; readonly vectorsLeft: number }): void {
    if (this.#made) throw new TacetError("bad_frame", "the provider announced a key twice");
    const { keyId: wanted, vectorsPerKey, onMade } = this.#request;
    if (keyId.length !== KEY_ID_BYTES || !(wanted === undefined || equalBytes(keyId, wanted))) {
      throw new TacetError("bad_key", "the provider sent another key than was asked for");
    }
    // A new key with less would be fetched for nothing, again and again.
    if (wanted === undefined && vectorsLeft < vectorsPerKey) {
      throw new TacetError("bad_key", `the provider's new key has only ${vectorsLeft} vectors`);
    }
    this.#made = { id: keyId.slice(), vectorsLeft };
    onMade?.(this.#made.id);
  }

  /**
   * @returns for the last part: resolves when the key has been checked and handed over, rejects with bad_key
   * @throws TacetError bad_key, bad_frame
   */
  part({ group, signature, weights, hint }: ReceivedPart): Promise<void> | undefined {
    if (!this.#made || group !== this.#parts.length) {
      throw new TacetError("bad_frame", "a part of a key came out of order");
    }
    const { format } = this.#request;
    const isLast = group === format.lengths.length - 1;
    if (!isLast && signature.length > 0) {
      throw new TacetError("bad_frame", "a part of a key is signed that is not the last one");
    }
    const part = format.copy(this.#made.id, group, { weights, hint });
    const digest = format.digest(part);
    if (digest instanceof Promise) digest.catch(() => {}); // #finish reports it
    this.#parts.push(part);
    this.#digests.push(digest);
    return isLast ? this.#finish(this.#made, signature.slice()) : undefined;
  }

  async #finish(made: Pick<FetchedKey, "id" | "vectorsLeft">, signature: Uint8Array): Promise<void> {
    try {
      this.#request.format.check(made.id, await Promise.all(this.#digests), signature);
    } catch (error) {
      this.#settling.reject(error);
      throw error;
    }
    this.#settling.resolve({ ...made, groups: this.#parts, signature });
  }

  fail(error: unknown): void {
    this.#settling.reject(error);
  }
}
