/**
 * The store that replicas share: keys, counts and the requests charged lately, in a Redis server. A query costs one
 * round trip; its script also looks whether the key is revoked, so a key that is answers nothing from then on, at no
 * replica. Nothing is answered from memory: without the server there are no answers.
 *
 * Keys in the database, after the prefix (tacet: by default):
 *
 *     format         "1"
 *     checked        written to see whether it can be
 *     keys           hash: hashApiKey → KeyRecord in JSON
 *     keys-version   counts changes of `keys`; also a channel that tells of them
 *     usage:ACCOUNT  hash: scope → counts (redis-scripts.ts)
 *     seen:DIGEST    "", for REMEMBER_MS: a request that was charged; DIGEST covers account, scope and request
 *     rate:KEY-ID    when the key's bucket is full again
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { RedisArgument, RedisLink } from "../base/platform.ts";
import { decodeKeyFile, unauthorized } from "./api-keys.ts";
import { rateExceeded } from "./rate-limiter.ts";
import { CHANGE_KEY, RESERVE } from "./redis-scripts.ts";
import {
  type Budget,
  type KeyRecord,
  type ProviderStore,
  type Reservation,
  type Reserved,
  windowStart,
} from "./store.ts";
import { type Counts, leftOf, type Usage } from "./usage-ledger.ts";

const FORMAT = "1";
/** A client that has lost its provider gives up long before; at 1,000 queries a second some 100 MB of marks. */
const REMEMBER_MS = 600_000;
/** A revocation whose message is lost closes idle connections after so long. */
const POLL_MS = 400;
const MOST_TRIES = 20;

export interface RedisStoreOptions {
  /** Begins every key in the database. Default "tacet:". */
  readonly prefix?: string;
  readonly rememberMs?: number;
}

export class RedisStore implements ProviderStore {
  onKeysChanged: () => void = () => {};
  readonly #link: RedisLink;
  readonly #prefix: string;
  readonly #rememberMs: string;
  #version: unknown;
  #poll: unknown;
  #polling = false;
  #closed = false;

  private constructor(link: RedisLink, { prefix = "tacet:", rememberMs = REMEMBER_MS }: RedisStoreOptions) {
    this.#link = link;
    this.#prefix = prefix;
    this.#rememberMs = String(rememberMs);
  }

  /**
   * The store in a database; an empty one becomes it.
   *
   * @throws TacetError bad_state for a store of another version; unavailable
   */
  static async open(link: RedisLink, options: RedisStoreOptions = {}): Promise<RedisStore> {
    const store = new RedisStore(link, options);
    const format = store.#name("format");
    const [, found] = await Promise.all([
      link.send(["SET", format, FORMAT, "NX"]),
      link.send(["GET", format]),
    ]);
    if (found === FORMAT) return store;
    throw new TacetError("bad_state", `the Redis database holds something else at ${format}`, {
      hint: "use another database or --redis-prefix, or the version of tacet that wrote it",
    });
  }

  /** Whether it can be asked now. */
  get isReady(): boolean {
    return this.#link.isReady;
  }

  /** Throws TacetError unavailable if nothing can be charged: a replica, for one, answers and takes nothing. */
  async check(): Promise<void> {
    await this.#link.send(["SET", this.#name("checked"), "", "PX", "1000"]);
  }

  /** Tells of changed keys from now on, until close. */
  async watchKeys(): Promise<void> {
    this.#version = await this.#link.send(["GET", this.#name("keys-version")]);
    this.#link.onNews = () => void this.#lookForChanges();
    await this.#link.subscribe(this.#name("keys-version"));
    // Whatever was said before the subscription is found here; so is what a lost message said.
    this.#pollLater();
  }

  async findKey(hash: string): Promise<KeyRecord | undefined> {
    const text = await this.#link.send(["HGET", this.#name("keys"), hash]);
    return typeof text === "string" ? decodeRecords([text])[0] : undefined;
  }

  async reserve(reservation: Reservation): Promise<Reserved> {
    const { account, scope, vectors, budget, nowMs, key } = reservation;
    const windowSeconds = budget?.windowSeconds ?? 0;
    const rate = key?.vectorsPerSecond ?? null;
    const keys = [
      this.#name(`usage:${account}`),
      this.#seenName(reservation),
      this.#name("keys"),
      this.#name(`rate:${key?.id ?? ""}`),
    ];
    const args = [
      scope,
      String(vectors),
      budget === undefined ? "" : String(budget.vectors),
      String(windowSeconds),
      String(nowMs),
      String(windowStart(nowMs, windowSeconds)),
      this.#rememberMs,
      key?.hash ?? "",
      rate === null ? "" : String(rate),
    ];
    const [outcome, first, left, waitMs] = (await this.#link.run(RESERVE, keys, args)) as [
      string,
      ...number[],
    ];
    switch (outcome) {
      case "ok":
        return {
          granted: true,
          replayed: first === 1,
          left: left < 0 ? undefined : left,
          ...(waitMs > 0 ? { waitMs } : {}),
        };
      case "budget":
        return { granted: false, replayed: false, left: first };
      case "rate":
        throw rateExceeded(rate ?? 0, first);
      case "key":
        throw unauthorized();
      default:
        throw new TypeError(`the script says ${outcome}`);
    }
  }

  async left(account: string, scopes: readonly string[], budget: Budget, nowMs: number): Promise<number[]> {
    if (scopes.length === 0) return [];
    const found = (await this.#link.send(["HMGET", this.#name(`usage:${account}`), ...scopes])) as unknown[];
    return found.map((text) => leftOf(decodeCounts(text), budget, nowMs));
  }

  /** Every key, the oldest first. */
  async keys(): Promise<KeyRecord[]> {
    const texts = (await this.#link.send(["HVALS", this.#name("keys")])) as string[];
    return decodeRecords(texts).sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  }

  async addKey(record: KeyRecord): Promise<void> {
    const [checked] = decodeRecords([JSON.stringify(record)]);
    if (await this.#change(checked.hash, "", JSON.stringify(checked))) return;
    throw new TacetError("bad_state", "there is a key with this hash");
  }

  /** false where there is no such key */
  async revokeKey(id: string, nowMs: number): Promise<boolean> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const texts = (await this.#link.send(["HVALS", this.#name("keys")])) as string[];
      const i = decodeRecords(texts).findIndex((each) => each.id === id);
      if (i === -1) return false;
      const record = JSON.parse(texts[i]) as KeyRecord;
      if (record.revokedAt !== null) return true;
      const revoked = JSON.stringify({ ...record, revokedAt: nowMs });
      if (await this.#change(record.hash, texts[i], revoked)) return true;
    }
    throw new TacetError("unavailable", `key ${id} is being changed by others all the time`);
  }

  /** What accounts have asked. */
  async usage(accounts: readonly string[]): Promise<Usage[]> {
    const all = await Promise.all(
      [...new Set(accounts)].map(async (account) => {
        const flat = (await this.#link.send(["HGETALL", this.#name(`usage:${account}`)])) as string[];
        return Array.from({ length: flat.length / 2 }, (_, i): Usage => {
          return { account, scope: flat[2 * i], total: decodeCounts(flat[2 * i + 1]).total };
        });
      }),
    );
    return all.flat();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#poll);
    this.#link.close();
  }

  #name(rest: string): string {
    return this.#prefix + rest;
  }

  /** 16 bytes of SHA-256 tell any two requests of any two accounts apart. */
  #seenName({ account, scope, digest }: Reservation): RedisArgument {
    const hash = sha256(concatBytes(utf8(`${JSON.stringify([account, scope])}\n`), digest));
    return concatBytes(utf8(this.#name("seen:")), hash.subarray(0, 16));
  }

  async #change(hash: string, before: string, after: string): Promise<boolean> {
    const version = this.#name("keys-version");
    const done = await this.#link.run(
      CHANGE_KEY,
      [this.#name("keys"), version],
      [hash, before, after, version],
    );
    return done === 1;
  }

  #pollLater(): void {
    this.#poll = setTimeout(async () => {
      await this.#lookForChanges();
      if (!this.#closed) this.#pollLater();
    }, POLL_MS);
  }

  async #lookForChanges(): Promise<void> {
    if (this.#polling || !this.#link.isReady) return;
    this.#polling = true;
    try {
      const version = await this.#link.send(["GET", this.#name("keys-version")]);
      if (version === this.#version) return;
      this.#version = version;
      this.onKeysChanged();
    } catch {
      // Not there now: asked again shortly, and queries say so meanwhile.
    } finally {
      this.#polling = false;
    }
  }
}

/** @throws TacetError bad_state */
function decodeRecords(texts: readonly string[]): KeyRecord[] {
  return decodeKeyFile(`{"version":1,"keys":[${texts.join()}]}`, "the list of keys in Redis");
}

function decodeCounts(text: unknown): Counts {
  const [total = 0, windowVectors = 0, window = 0, windowSeconds = 0] =
    typeof text === "string" ? text.split(" ").map(Number) : [];
  return { total, windowVectors, window, windowSeconds };
}
