/**
 * The store that replicas share: keys, counts and the requests charged lately, in a Redis server. A query costs one
 * round trip; its script also looks whether the key is revoked, so a key that is answers nothing from then on, at no
 * replica. Nothing is answered from memory: without the server there are no answers.
 *
 * Keys in the database, after the prefix (tacet: by default):
 *
 *     format           "2"
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
 *
 * Entries of an epoch stay until the next one begins: none is removed, or expires, while a key that it counts is good.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { RedisArgument, RedisLink } from "../base/platform.ts";
import { budgetsOf, decodeKeyFile, unauthorized } from "./api-keys.ts";
import { AskedCounts, MARKED_WINDOWS, type Mark, windowStart } from "./asked-counts.ts";
import { type KeyName, keyIdOf, keyNameOf, LIVE_KEYS, newEpoch } from "./key-ids.ts";
import { rateExceeded } from "./rate-limiter.ts";
import { ALLOCATE_KEY, CHANGE_KEY, FORGET_EPOCHS, NEWEST_KEY, OPEN, RESERVE } from "./redis-scripts.ts";
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

const FORMAT = "2";
/** A client that has lost its provider gives up long before; at 1,000 queries a second some 90 MB of marks. */
const REMEMBER_MS = 600_000;
/** A revocation whose message is lost closes idle connections after so long. */
const POLL_MS = 400;
const MOST_TRIES = 20;

export interface RedisStoreOptions {
  /** Begins every key in the database. Default "tacet:". */
  readonly prefix?: string | undefined;
  readonly rememberMs?: number | undefined;
  /** Told what the server does that makes budgets begin again: one sentence. */
  readonly onWarning?: ((warning: string) => void) | undefined;
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
   * The store in a database; an empty one, or one of version 0.1.0, becomes it.
   *
   * @throws TacetError bad_state for a store of another version, or a server that may evict it; unavailable
   */
  static async open(link: RedisLink, options: RedisStoreOptions = {}): Promise<RedisStore> {
    const store = new RedisStore(link, options);
    const warnings = await checkRedisServer(link);
    const format = store.#name("format");
    const found = await link.run(OPEN, [format, store.#name("keys")], [FORMAT, store.#name("keys-of:")]);
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
      this.#serialName(account, name?.epoch ?? ""),
      name === undefined ? "" : this.#usedName(account, name),
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
        const [replayed, left, budgetVectors, windowSeconds, time, waitMs] = reply.slice(1).map(Number);
        return {
          granted: reply[0] === "ok",
          replayed: replayed === 1,
          remaining: left < 0 ? undefined : remainingOf(left, budgetVectors, windowSeconds, time),
          ...(reply[0] === "ok" && waitMs > 0 ? { waitMs } : {}),
        };
      }
      case "unknown_key":
      case "worn_key":
        return { granted: false, replayed: false, remaining: undefined, keyRefused: reply[0] };
      case "rate":
        throw rateExceeded(rate ?? 0, Number(reply[1]));
      case "key":
        throw unauthorized();
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

  async allocateKey(account: string): Promise<Uint8Array> {
    const [epoch, serial, begins] = (await this.#link.run(
      ALLOCATE_KEY,
      [this.#name("epoch")],
      [this.#name("serial:"), account, this.#name("used:"), newEpoch()],
    )) as [string, number, number];
    // In the background. Where it fails, the next epoch finds what is left.
    if (begins === 1) this.#forgetEpochs().catch(() => {});
    return keyIdOf({ epoch, serial });
  }

  /** Removes what earlier epochs have counted: no key of theirs is ever good again. */
  async #forgetEpochs(): Promise<void> {
    const prefix = this.#prefix.replace(/[\\*?[\]^-]/g, "\\$&");
    for (const kind of ["serial", "used"]) {
      let cursor = "0";
      do {
        const scan = ["SCAN", cursor, "MATCH", `${prefix}${kind}:*`, "COUNT", "1000"];
        const [next, names] = (await this.#link.send(scan)) as [string, string[]];
        if (names.length > 0)
          await this.#link.run(FORGET_EPOCHS, [this.#name("epoch"), ...names], [this.#prefix]);
        cursor = next;
      } while (cursor !== "0" && !this.#closed);
    }
  }

  async keysLeft(
    account: string,
    keyIds: readonly Uint8Array[],
    scopes: readonly string[],
    limit: number,
  ): Promise<(number | undefined)[]> {
    const names = await this.#liveNames(account, keyIds);
    return await Promise.all(
      names.map(async (name) => {
        if (name === undefined) return undefined;
        if (scopes.length === 0) return limit;
        const used = (await this.#link.send(["HMGET", this.#usedName(account, name), ...scopes])) as (
          | string
          | null
        )[];
        return Math.max(0, limit - Math.max(0, ...used.map(Number)));
      }),
    );
  }

  /** Names of those keys that may be used. */
  async #liveNames(account: string, keyIds: readonly Uint8Array[]): Promise<(KeyName | undefined)[]> {
    if (keyIds.length === 0) return [];
    const [epoch, highest] = (await this.#link.run(
      NEWEST_KEY,
      [this.#name("epoch")],
      [this.#name("serial:"), account],
    )) as [string, number];
    return keyIds.map((keyId) => {
      const name = keyNameOf(keyId);
      const isLive = name?.epoch === epoch && name.serial <= highest && name.serial > highest - LIVE_KEYS;
      return isLive ? name : undefined;
    });
  }

  #serialName(account: string, epoch: string): string {
    return this.#name(`serial:${epoch}:${account}`);
  }

  #usedName(account: string, { epoch, serial }: KeyName): string {
    return this.#name(`used:${epoch}:${serial}:${account}`);
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

/** @throws TacetError bad_state */
function decodeCounts(text: unknown, nowMs: number): AskedCounts {
  if (typeof text !== "string") return new AskedCounts();
  const numbers = text.split(" ").map(Number);
  if (numbers.length === 4) {
    const [total, windowVectors, window, windowSeconds] = numbers;
    return AskedCounts.fromVersion1(total, windowVectors, window, windowSeconds, nowMs);
  }
  const [version, total, latest, ...rest] = numbers;
  const marks = Array.from({ length: rest.length / 3 }, (_, i): Mark => {
    const [windowSeconds, start, before] = rest.slice(3 * i);
    return { windowSeconds, start, before };
  });
  if (version === 2 && marks.length >= MARKED_WINDOWS.length) return new AskedCounts(total, latest, marks);
  throw new TacetError("bad_state", "the Redis database holds counts of another version");
}

function remainingOf(left: number, vectors: number, windowSeconds: number, time: number): Remaining {
  const end = windowStart(time, windowSeconds) + 1000 * windowSeconds;
  const endsAt = windowSeconds === 0 ? Number.POSITIVE_INFINITY : end;
  return { budget: { vectors, windowSeconds }, left, endsAt };
}
