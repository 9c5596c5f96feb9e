/**
 * What stands between a query and its answer: the key's validity, its rate, the account's budgets. One for each
 * connection that has a key.
 */
import { TacetError } from "../base/errors.ts";
import type { Sha256 } from "../base/platform.ts";
import { portableSha256 } from "../bundle/key-signature.ts";
import { keyAllows, unauthorized } from "./api-keys.ts";
import { keyRefused } from "./group-keys.ts";
import type { Charged, KeyLedger } from "./key-ledger.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import { type KeyRecord, type ProviderStore, type Remaining, scopeOf } from "./store.ts";
import { REQUEST_DIGEST_BYTES } from "./usage-records.ts";

export interface MeterTools {
  readonly store: ProviderStore;
  readonly sha256?: Sha256 | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface BudgetNow {
  readonly vectors: number;
  readonly windowSeconds: number;
  /** Of the group that has fewest. */
  readonly left: number;
}

export class Meter implements KeyLedger {
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

  get account(): string {
    return this.#key.account;
  }

  get #vectorsPerKey(): number {
    return this.#adapter.bundle.manifest.parameters.vectorsPerKey;
  }

  async allocate(): Promise<Uint8Array> {
    this.check();
    return await this.#tools.store.allocateKey(this.account);
  }

  left(keyIds: readonly Uint8Array[]): Promise<(number | undefined)[]> {
    return this.#tools.store.keysLeft(this.account, keyIds, this.#scopes, this.#vectorsPerKey);
  }

  /** Whether the key, as it was last looked up, may ask now. Throws TacetError unauthorized. */
  check(): void {
    if (!keyAllows(this.#key, this.#adapter.name, this.#tools.now())) throw unauthorized();
  }

  /** Looks whether the key is still good. Throws TacetError unauthorized. */
  async recheck(): Promise<void> {
    const record = await this.#tools.store.findKey(this.#key.hash);
    if (!keyAllows(record, this.#adapter.name, this.#tools.now())) throw unauthorized();
    this.#key = record;
  }

  /** Of the account's budgets the one that leaves least. undefined: unlimited. */
  async budget(): Promise<BudgetNow | undefined> {
    const { store, now } = this.#tools;
    const found = await store.remaining(this.#key.account, this.#adapter.name, this.#scopes, now());
    return found && { ...found.budget, left: found.left };
  }

  /**
   * Charges a query that is well-formed, the account's budgets and the key of the private layer in one step. The answer
   * may leave when this resolves and not before.
   *
   * @throws TacetError budget_exhausted; unknown_key, worn_key; too_many_requests; unauthorized if the API key has
   *   expired; what reserve throws
   */
  async charge(group: number, vectors: number, ciphertext: Uint8Array, keyId: Uint8Array): Promise<Charged> {
    const { store, now } = this.#tools;
    const key = this.#key;
    const nowMs = now();
    if (!keyAllows(key, this.#adapter.name, nowMs)) throw unauthorized();
    const {
      granted,
      replayed,
      remaining,
      waitMs,
      keyLeft,
      keyRefused: refused,
    } = await store.reserve({
      account: key.account,
      adapter: this.#adapter.name,
      scope: this.#scopes[group],
      digest: this.#digest(group, keyId, ciphertext),
      vectors,
      nowMs,
      key,
      keyUse: { keyId, limit: this.#vectorsPerKey },
    });
    if (refused !== undefined) throw keyRefused(refused);
    if (!granted && remaining !== undefined) throw exhausted(vectors, remaining);
    if (!granted) throw new TypeError("a store refused a query and did not say why");
    if (replayed) this.onRepeated(vectors);
    if (waitMs !== undefined) await new Promise<void>((resolve) => setTimeout(resolve, waitMs));
    return { left: remaining?.left, replayed, keyLeft };
  }

  /** The request: the same bytes for the same bundle, group and key get the same answer. */
  #digest(group: number, keyId: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    const hash = this.#tools.sha256 ?? portableSha256;
    const head = new Uint8Array(new Uint32Array([group]).buffer);
    const { digest } = this.#adapter.bundle;
    return hash([digest, head, keyId, ciphertext]).subarray(0, REQUEST_DIGEST_BYTES);
  }
}

function exhausted(vectors: number, { budget, left, endsAt }: Remaining): TacetError {
  return new TacetError(
    "budget_exhausted",
    `the query needs ${count(vectors)}; ${left} of ${budget.vectors} are left in this group's budget`,
    {
      hint: Number.isFinite(endsAt)
        ? `the budget is renewed at ${new Date(endsAt).toISOString()}`
        : "the provider can give the account a larger budget",
    },
  );
}

const count = (vectors: number) => (vectors === 1 ? "1 vector" : `${vectors} vectors`);
