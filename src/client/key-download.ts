/** A key on its way: KeyMade, then one part for each group, in order. What is no key of the bundle ends it. */
import { equalBytes } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import type { KeyFormat } from "./key-format.ts";
import type { FetchedKey, KeyPart } from "./keys.ts";

export interface KeyRequest {
  readonly format: KeyFormat;
  /** A key that was asked for before; undefined: a new one. */
  readonly keyId?: Uint8Array | undefined;
  /** Vectors that a new key answers. */
  readonly vectorsPerKey: number;
  /** KeyMade has come: from here on the same key may be asked for again. */
  readonly onMade?: ((keyId: Uint8Array) => void) | undefined;
}

interface Settling {
  resolve(key: FetchedKey): void;
  reject(error: unknown): void;
}

export class KeyDownload {
  readonly #request: KeyRequest;
  readonly #settling: Settling;
  readonly #parts: KeyPart[] = [];
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
   * @returns whether it was the last one
   * @throws TacetError bad_key, bad_frame
   */
  part({ group, ...part }: KeyPart & { readonly group: number }): boolean {
    if (!this.#made || group !== this.#parts.length) {
      throw new TacetError("bad_frame", "a part of a key came out of order");
    }
    const { format } = this.#request;
    this.#parts.push(format.read(this.#made.id, group, part));
    if (this.#parts.length < format.lengths.length) return false;
    this.#settling.resolve({ ...this.#made, groups: this.#parts });
    return true;
  }

  fail(error: unknown): void {
    this.#settling.reject(error);
  }
}
