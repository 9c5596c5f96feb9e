/**
 * What stands between a query and its answer: the key's validity, its rate, the account's budget. One for each
 * connection that has a key.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { TacetError } from "../base/errors.ts";
import { keyAllows, unauthorized } from "./api-keys.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import {
  type KeyRecord,
  type ProviderStore,
  type Reserved,
  type Soon,
  scopeOf,
  windowStart,
} from "./store.ts";
import { REQUEST_DIGEST_BYTES } from "./usage-records.ts";

/** SHA-256 of byte strings one after another. Node's own is several times as fast as one in JavaScript. */
export type Sha256 = (parts: readonly Uint8Array[]) => Uint8Array;

const portableSha256: Sha256 = (parts) => {
  const hash = sha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export interface MeterTools {
  readonly store: ProviderStore;
  readonly sha256?: Sha256;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface BudgetNow {
  readonly vectors: number;
  readonly windowSeconds: number;
  /** Of the group that has fewest. */
  readonly left: number;
}

export class Meter {
  /** Called before a query that was charged before is answered again; what it throws the query fails with. */
  onRepeated: (vectors: number) => void = () => {};
  readonly #tools: MeterTools;
  readonly #adapter: ServedAdapter;
  readonly #scopes: readonly string[];
  #key: KeyRecord;

  constructor(tools: MeterTools, key: KeyRecord, adapter: ServedAdapter) {
    this.#tools = tools;
    this.#key = key;
    this.#adapter = adapter;
    const { baseFingerprint, groups } = adapter.bundle.manifest;
    this.#scopes = groups.map(({ modules }) =>
      scopeOf(
        adapter.name,
        baseFingerprint,
        modules.map(({ name }) => name),
      ),
    );
  }

  get key(): KeyRecord {
    return this.#key;
  }

  /** Whether the key, as it was last looked up, may ask now. Throws TacetError unauthorized. */
  check(): void {
    if (!keyAllows(this.#key, this.#adapter.name, this.#tools.now())) throw unauthorized();
  }

  /** Looks whether the key is still good. Throws TacetError unauthorized. */
  recheck(): Soon<void> {
    const found = this.#tools.store.findKey(this.#key.hash);
    const use = (record: KeyRecord | undefined) => {
      if (!keyAllows(record, this.#adapter.name, this.#tools.now())) throw unauthorized();
      this.#key = record;
    };
    return found instanceof Promise ? found.then(use) : use(found);
  }

  /** undefined: unlimited. */
  budget(): Soon<BudgetNow | undefined> {
    const { store, now } = this.#tools;
    const { account, budget } = this.#key;
    if (budget === null) return undefined;
    const found = store.left(account, this.#scopes, budget, now());
    const of = (left: readonly number[]) => ({ ...budget, left: Math.min(...left) });
    return found instanceof Promise ? found.then(of) : of(found);
  }

  /**
   * Charges a query that is well-formed. What it returns, or resolves to, are the vectors left; the answer may leave
   * then and not before.
   *
   * @throws TacetError budget_exhausted; too_many_requests; unauthorized if the key has expired; what reserve throws
   */
  charge(group: number, vectors: number, ciphertext: Uint8Array): Soon<number | undefined> {
    const { store, now } = this.#tools;
    const key = this.#key;
    const nowMs = now();
    if (!keyAllows(key, this.#adapter.name, nowMs)) throw unauthorized();
    const { account, budget } = key;
    const reserved = store.reserve({
      account,
      scope: this.#scopes[group],
      digest: this.#digest(group, ciphertext),
      vectors,
      budget: budget ?? undefined,
      nowMs,
      key,
    });
    const use = ({ granted, replayed, left, waitMs }: Reserved): Soon<number | undefined> => {
      if (!granted) throw this.#exhausted(vectors, left ?? 0, nowMs);
      if (replayed) this.onRepeated(vectors);
      if (waitMs === undefined) return left;
      return new Promise((resolve) => setTimeout(() => resolve(left), waitMs));
    };
    return reserved instanceof Promise ? reserved.then(use) : use(reserved);
  }

  /** The request: the same bytes for the same bundle and group get the same answer. */
  #digest(group: number, ciphertext: Uint8Array): Uint8Array {
    const hash = this.#tools.sha256 ?? portableSha256;
    const head = new Uint8Array(new Uint32Array([group]).buffer);
    return hash([this.#adapter.bundle.digest, head, ciphertext]).subarray(0, REQUEST_DIGEST_BYTES);
  }

  #exhausted(vectors: number, left: number, nowMs: number): TacetError {
    const { windowSeconds = 0, vectors: most = 0 } = this.#key.budget ?? {};
    const end = new Date(windowStart(nowMs, windowSeconds) + 1000 * windowSeconds);
    return new TacetError(
      "budget_exhausted",
      `${vectors} vectors were asked of a group and ${left} of the budget of ${most} are left`,
      {
        hint:
          windowSeconds === 0
            ? "the provider can give the account a larger budget"
            : `the budget is renewed at ${end.toISOString()}`,
      },
    );
  }
}
