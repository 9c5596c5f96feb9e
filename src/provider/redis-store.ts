/**
 * The store that replicas share: keys, counts and the requests charged lately, in a Redis server. A query costs one
 * round trip; its script also looks whether the key is revoked, so a key that is answers nothing from then on, at no
 * replica. Nothing is answered from memory: without the server there are no answers.
 *
 * Keys in the database, after the prefix (tacet: by default):
 *
 *     format           "3"
 *     checked          written to see whether it can be
 *     keys             hash: hashApiKey → KeyRecord in JSON
 *     keys-of:ACCOUNT  set: hashes of the account's keys that are not revoked; their budgets hold for one another
 *     keys-version     counts changes of `keys`; also a channel that tells of them
 *     usage:ACCOUNT    hash: scope → counts (redis-scripts.ts)
 *     seen:DIGEST      "", for REMEMBER_MS: a request that was charged; DIGEST covers account, scope and request
 *     rate:KEY-ID      when the key's bucket is full again
 *     epoch            "EPOCH RUN-ID" of the keys of private layers, and of the server that it began on (key-ids.ts)
 *     serial:EPOCH:ACCOUNT       serial of the account's newest such key
 *     used:EPOCH:SERIAL:ACCOUNT  hash: scope → vectors that the key has answered
 *     whole            "RUN-ID EVICTED": what the server had evicted when all was there
 *     lost             is there where it has evicted something since: nothing is charged any more (redis-fitness.ts)
 *
 * Entries of an epoch stay until the next one begins: none is removed, or expires, while a key that it counts is good.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { RedisArgument, RedisLink } from "../base/platform.ts";
import { budgetsOf, unauthorized } from "./api-keys.ts";
import { keyNameOf } from "./key-ids.ts";
import { rateExceeded } from "./rate-limiter.ts";
import { notFit, RedisFitness } from "./redis-fitness.ts";
import { RedisKeyNews } from "./redis-key-news.ts";
import { RedisLayerKeys } from "./redis-layer-keys.ts";
import { decodeCounts, decodeRecords, remainingOf } from "./redis-records.ts";
import { CHANGE_KEY, OPEN, RESERVE } from "./redis-scripts.ts";
import { checkRedisServer } from "./redis-server-check.ts";
import {
  type KeyRecord,
  leastOf,
  type ProviderStore,
  type Remaining,
  type Reservation,
  type Reserved,
} from "./store.ts";
import type { Usage } from "./usage-ledger.ts";

const FORMAT = "3";
/** A client that has lost its provider gives up long before; at 1,000 queries a second some 90 MB of marks. */
const REMEMBER_MS = 600_000;
const MOST_TRIES = 20;

export interface RedisStoreOptions {
  /** Begins every key in the database. Default "tacet:". */
  readonly prefix?: string | undefined;
  readonly rememberMs?: number | undefined;
  /** Told what the server does that makes budgets begin again: one sentence. */
  readonly onWarning?: ((warning: string) => void) | undefined;
  /**
   * Told while keys are watched, when the server may forget counts: nothing is charged from then on. Undefined: it is good
   * again.
   */
  readonly onProblem?: ((problem: string | undefined) => void) | undefined;
}

export class RedisStore implements ProviderStore {
  onKeysChanged: () => void = () => {};
  readonly #link: RedisLink;
  readonly #prefix: string;
  readonly #rememberMs: string;
  readonly #layerKeys: RedisLayerKeys;
  readonly #keyNews: RedisKeyNews;
  readonly #fitness: RedisFitness;

  private constructor(
    link: RedisLink,
    { prefix = "tacet:", rememberMs = REMEMBER_MS, onProblem = () => {} }: RedisStoreOptions,
  ) {
    this.#link = link;
    this.#prefix = prefix;
    this.#rememberMs = String(rememberMs);
    this.#layerKeys = new RedisLayerKeys(link, prefix);
    this.#keyNews = new RedisKeyNews(link, this.#name("keys-version"), () => this.onKeysChanged());
    const names = { whole: this.#name("whole"), lost: this.#name("lost"), format: this.#name("format") };
    this.#fitness = new RedisFitness(link, names, onProblem);
  }

  /**
   * The store in a database; an empty one, or one of version 0.1.0, becomes it.
   *
   * @throws TacetError bad_state for a store of another version, or a server that may evict it or has; unavailable
   */
  static async open(link: RedisLink, options: RedisStoreOptions = {}): Promise<RedisStore> {
    const store = new RedisStore(link, options);
    const warnings = await checkRedisServer(link);
    const format = store.#name("format");
    const names = [format, store.#name("keys"), store.#name("whole"), store.#name("lost")];
    const [found, isWhole] = (await link.run(OPEN, names, [FORMAT, store.#name("keys-of:")])) as unknown[];
    if (isWhole === 0) throw store.#fitness.lost();
    if (found === FORMAT) {
      for (const warning of warnings) options.onWarning?.(warning);
      return store;
    }
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
    if (this.#fitness.problem !== undefined) throw notFit();
    await this.#link.send(["SET", this.#name("checked"), "", "PX", "1000"]);
  }

  /** Tells of changed keys from now on, until close, and looks whether the server still keeps what it is given. */
  async watchKeys(): Promise<void> {
    await this.#keyNews.watch();
    this.#fitness.watch();
  }

  async findKey(hash: string): Promise<KeyRecord | undefined> {
    const text = await this.#link.send(["HGET", this.#name("keys"), hash]);
    return typeof text === "string" ? decodeRecords([text])[0] : undefined;
  }

  async reserve(reservation: Reservation): Promise<Reserved> {
    if (this.#fitness.problem !== undefined) throw notFit();
    const { account, adapter, scope, vectors, nowMs, key, keyUse } = reservation;
    const name = keyUse && keyNameOf(keyUse.keyId);
    const rate = key?.vectorsPerSecond ?? null;
    const keys = [
      this.#name(`usage:${account}`),
      this.#seenName(reservation),
      this.#name("keys"),
      this.#name(`rate:${key?.id ?? ""}`),
      this.#name(`keys-of:${account}`),
      this.#name("epoch"),
      this.#layerKeys.serialName(account, name?.epoch ?? ""),
      name === undefined ? "" : this.#layerKeys.usedName(account, name),
      this.#name("whole"),
      this.#name("lost"),
      this.#name("format"),
    ];
    const args = [
      account,
      adapter,
      scope,
      String(vectors),
      String(nowMs),
      this.#rememberMs,
      key?.hash ?? "",
      rate === null ? "" : String(rate),
      // No epoch has that name: bytes that name no key are as unknown as others, and the API key is looked at first.
      name?.epoch ?? "none",
      String(keyUse ? (name?.serial ?? 1) : 0),
      String(keyUse?.limit ?? 0),
    ];
    const reply = (await this.#link.run(RESERVE, keys, args)) as [string, ...unknown[]];
    switch (reply[0]) {
      case "ok":
      case "budget": {
        const [replayed, left, budgetVectors, windowSeconds, time, waitMs, keyLeft] = reply
          .slice(1)
          .map(Number);
        return {
          granted: reply[0] === "ok",
          replayed: replayed === 1,
          remaining: left < 0 ? undefined : remainingOf(left, budgetVectors, windowSeconds, time),
          ...(reply[0] === "ok" && waitMs > 0 ? { waitMs } : {}),
          ...(keyLeft < 0 ? {} : { keyLeft }),
        };
      }
      case "unknown_key":
      case "worn_key":
        return { granted: false, replayed: false, remaining: undefined, keyRefused: reply[0] };
      case "rate":
        throw rateExceeded(rate ?? 0, Number(reply[1]));
      case "key":
        throw unauthorized();
      case "lost":
        this.#fitness.foundLost();
        throw notFit();
      default:
        throw new TypeError(`the script says ${reply[0]}`);
    }
  }

  async remaining(
    account: string,
    adapter: string,
    scopes: readonly string[],
    nowMs: number,
  ): Promise<Remaining | undefined> {
    const hashes = (await this.#link.send(["SMEMBERS", this.#name(`keys-of:${account}`)])) as string[];
    if (hashes.length === 0 || scopes.length === 0) return undefined;
    const [texts, counts] = (await Promise.all([
      this.#link.send(["HMGET", this.#name("keys"), ...hashes]),
      this.#link.send(["HMGET", this.#name(`usage:${account}`), ...scopes]),
    ])) as [(string | null)[], (string | null)[]];
    const keys = decodeRecords(texts.filter((text) => text !== null));
    const budgets = budgetsOf(keys, adapter, nowMs);
    return leastOf(counts.map((text) => decodeCounts(text, nowMs).remaining(budgets, nowMs)));
  }

  allocateKey(account: string): Promise<Uint8Array> {
    return this.#layerKeys.allocate(account);
  }

  keysLeft(
    account: string,
    keyIds: readonly Uint8Array[],
    scopes: readonly string[],
    limit: number,
  ): Promise<(number | undefined)[]> {
    return this.#layerKeys.left(account, keyIds, scopes, limit);
  }

  /** Every key, the oldest first. */
  async keys(): Promise<KeyRecord[]> {
    const texts = (await this.#link.send(["HVALS", this.#name("keys")])) as string[];
    return decodeRecords(texts).sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  }

  async addKey(record: KeyRecord): Promise<void> {
    const [checked] = decodeRecords([JSON.stringify(record)]);
    if (await this.#change(checked, "")) return;
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
      if (await this.#change({ ...record, revokedAt: nowMs }, texts[i])) return true;
    }
    throw new TacetError("unavailable", `key ${id} is being changed by others all the time`);
  }

  /** What accounts have asked, seen from `nowMs`. */
  async usage(accounts: readonly string[], nowMs = Date.now()): Promise<Usage[]> {
    const all = await Promise.all(
      [...new Set(accounts)].map(async (account) => {
        const flat = (await this.#link.send(["HGETALL", this.#name(`usage:${account}`)])) as string[];
        return Array.from({ length: flat.length / 2 }, (_, i): Usage => {
          const counts = decodeCounts(flat[2 * i + 1], nowMs);
          return { account, scope: flat[2 * i], total: counts.total, counts };
        });
      }),
    );
    return all.flat();
  }

  close(): void {
    this.#fitness.close();
    this.#keyNews.close();
    this.#layerKeys.close();
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

  /** Puts a record where the text `before` is. false where it is no longer. */
  async #change(record: KeyRecord, before: string): Promise<boolean> {
    const version = this.#name("keys-version");
    const done = await this.#link.run(
      CHANGE_KEY,
      [this.#name("keys"), version, this.#name(`keys-of:${record.account}`)],
      [record.hash, before, JSON.stringify(record), version],
    );
    return done === 1;
  }
}
