/**
 * Keys that are kept between sessions, so that what is left of them is used before the provider makes new ones.
 *
 * A key's file is its signature (64 bytes) and its parts, B ‖ H for each group. Whoever reads it checks length and
 * signature as if it had just come, so a damaged file, or one that belongs elsewhere, is never used. How much is left of
 * a key is not kept: the provider counts, and says so in its Welcome.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes, fromHex, toHex, utf8 } from "../base/bytes.ts";
import type { KeptKeyName } from "../base/platform.ts";
import { SIGNATURE_BYTES } from "../bundle/signature.ts";
import type { KeyFormat } from "./key-format.ts";
import type { FetchedKey, KeyLeft } from "./keys.ts";

/** Where a client keeps keys between sessions; whoever can read it has what the provider gave this account. */
export interface KeyCache {
  /** An account's keys, the newest first. */
  list(account: string): Promise<readonly KeptKeyName[]>;
  get(name: KeptKeyName): Promise<Uint8Array | undefined>;
  /** May fail, by throwing, without harm: another key is then fetched next time. */
  put(name: KeptKeyName, bytes: Uint8Array): Promise<void>;
  remove(name: KeptKeyName): Promise<void>;
}

/** The keys that one account of one provider has kept. */
export class KeptKeys {
  readonly #cache: KeyCache;
  readonly #account: string;
  readonly #onWarning: (message: string) => void;
  #names: readonly KeptKeyName[];
  #hasFailed = false;

  private constructor(
    cache: KeyCache,
    account: string,
    onWarning: (message: string) => void,
    names: readonly KeptKeyName[],
  ) {
    this.#cache = cache;
    this.#account = account;
    this.#onWarning = onWarning;
    this.#names = names;
  }

  /** @param of what makes an account: URLs, adapter, token */
  static async open(
    cache: KeyCache,
    of: readonly string[],
    onWarning: (message: string) => void,
  ): Promise<KeptKeys> {
    const account = toHex(sha256(utf8(JSON.stringify(of)))).slice(0, 32);
    const names = await cache.list(account).catch(() => []);
    return new KeptKeys(cache, account, onWarning, names);
  }

  /** Ids for a Hello. */
  get ids(): readonly Uint8Array[] {
    return this.#names.map(({ id }) => fromHex(id));
  }

  /** Those of a bundle that the provider says are good; all others go. */
  async *goodOnes(bundle: string, format: KeyFormat, left: readonly KeyLeft[]): AsyncGenerator<FetchedKey> {
    for (const name of this.#names) {
      const id = fromHex(name.id);
      const said = left.find(({ keyId }) => equalBytes(keyId, id));
      const bytes =
        said && said.vectorsLeft > 0 && name.bundle === bundle
          ? await this.#cache.get(name).catch(() => undefined)
          : undefined;
      const key = bytes && (await decodeKey(id, bytes, format));
      if (key && said) yield { ...key, id, vectorsLeft: said.vectorsLeft };
      else await this.#cache.remove(name).catch(() => {});
    }
    this.#names = [];
  }

  /** Keeps a key that has come. Says once if it cannot. */
  keep(bundle: string, key: FetchedKey): void {
    const parts = key.groups.flatMap(({ weights, hint }) => [weights, hint]);
    const file = concatBytes(key.signature, ...parts);
    this.#cache.put(this.#nameOf(bundle, key.id), file).catch((error: unknown) => {
      if (this.#hasFailed) return;
      this.#hasFailed = true;
      this.#onWarning(`keys cannot be kept for next time: ${(error as Error).message}`);
    });
  }

  forget(bundle: string, id: Uint8Array): void {
    this.#cache.remove(this.#nameOf(bundle, id)).catch(() => {});
  }

  #nameOf(bundle: string, id: Uint8Array): KeptKeyName {
    return { account: this.#account, bundle, id: toHex(id) };
  }
}

/** What a key's file has; undefined if it is damaged, or is no key of this bundle. */
async function decodeKey(
  id: Uint8Array,
  bytes: Uint8Array,
  format: KeyFormat,
): Promise<Pick<FetchedKey, "groups" | "signature"> | undefined> {
  let at = 0;
  const take = (length: number) => bytes.subarray(at, (at += length));
  try {
    const signature = take(SIGNATURE_BYTES).slice();
    const groups = format.lengths.map((lengths, group) =>
      format.copy(id, group, { weights: take(lengths.weights), hint: take(lengths.hint) }),
    );
    if (at !== bytes.length) return undefined;
    format.check(id, await Promise.all(groups.map(format.digest)), signature);
    return { groups, signature };
  } catch {
    return undefined;
  }
}
