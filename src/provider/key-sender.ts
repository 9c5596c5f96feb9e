/**
 * A connection's requests for keys: KeyMade, then a part for each group, in order, the last one signed for all of them
 * (docs/protocol.md, section "Keys").
 * A connection's requests are served one after another. Each part is made when the client has taken the one before, of an
 * account one at a time, in turns with long queries.
 */
import { TacetError } from "../base/errors.ts";
import type { WaitingShare } from "../base/waiting-share.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import type { ClientMessage, KeyPartFields, ProviderMessageInit } from "../wire/frames.ts";
import { groupKeyOf, keyRefused } from "./group-keys.ts";
import type { KeyLedger } from "./key-ledger.ts";
import type { KeyPart } from "./key-part.ts";
import type { KeyRates } from "./key-rates.ts";
import type { ReplyScheduler } from "./reply-scheduler.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import { OneAtATime, type Turn } from "./one-at-a-time.ts";

type FetchKey = Extract<ClientMessage, { case: "fetchKey" }>["value"];

/** What all connections of a provider share. */
export interface KeyTools {
  readonly replies: ReplyScheduler;
  readonly rates: KeyRates;
  /** By account. */
  readonly turns: OneAtATime;
}

/** The connection that keys are sent over. */
export interface KeyReceiver {
  readonly owner: object;
  readonly party: object | string;
  readonly share: WaitingShare;
  /** A key is sent again. Throws TacetError too_many_requests if that has happened too often. */
  repeated(): void;
  /** Resolves when the client has taken most of what was sent, or has gone. */
  untilTaken(): Promise<void>;
  isOver(): boolean;
  send(frame: NonNullable<ProviderMessageInit>): void;
  sendPart(part: KeyPartFields): void;
}

/** A key that was sent. */
export interface SentKey {
  /** Whether it had been made before. */
  readonly isRepeated: boolean;
  /** Milliseconds of computing. */
  readonly ms: number;
  readonly bytes: number;
}

/** What is kept of a part that is being sent: the part and its frame. */
const COPIES = 2;
/** What is kept of a request that waits. */
const REQUEST_BYTES = 512;

export class KeySender {
  readonly #tools: KeyTools;
  readonly #adapter: ServedAdapter;
  readonly #ledger: KeyLedger;
  readonly #to: KeyReceiver;
  /** Numbers of the requests that are open. */
  readonly #open = new Set<number>();
  readonly #requests = new OneAtATime();
  /** In the account's queue. */
  #place: Turn | undefined;

  constructor(tools: KeyTools, adapter: ServedAdapter, ledger: KeyLedger, to: KeyReceiver) {
    this.#tools = tools;
    this.#adapter = adapter;
    this.#ledger = ledger;
    this.#to = to;
  }

  /**
   * Begins a request.
   *
   * @returns what was sent; undefined if the client has gone meanwhile
   * @throws TacetError bad_frame for a number that is no good: the connection's fault, thrown at once. Rejects with what
   *   the request fails with: too_many_requests, unknown_key, worn_key, and what the ledger throws
   */
  fetch({ id, keyId }: FetchKey): Promise<SentKey | undefined> {
    if (id === 0) throw new TacetError("bad_frame", "a request for a key has the id 0");
    if (this.#open.has(id))
      throw new TacetError("bad_frame", `a request for a key with the id ${id} is open`);
    // A copy: the view would keep the whole message alive.
    return this.#fetch(id, keyId.length === 0 ? undefined : keyId.slice());
  }

  /** The client has gone: others of its account need not wait for what it has asked. */
  close(): void {
    this.#place?.leave();
  }

  async #fetch(id: number, wanted: Uint8Array | undefined): Promise<SentKey | undefined> {
    const { share } = this.#to;
    if (!share.hold(REQUEST_BYTES)) throw noRoom();
    this.#open.add(id);
    const place = this.#requests.enter("");
    try {
      if (wanted !== undefined && wanted.length !== KEY_ID_BYTES) throw keyRefused("unknown_key");
      this.#tools.rates.take(this.#ledger.account);
      if (wanted !== undefined) this.#to.repeated();
      await place.ready;
      return this.#to.isOver() ? undefined : await this.#send(id, wanted);
    } finally {
      place.leave();
      this.#open.delete(id);
      share.release(REQUEST_BYTES);
    }
  }

  async #send(id: number, wanted: Uint8Array | undefined): Promise<SentKey | undefined> {
    const to = this.#to;
    const keyId = wanted ?? (await this.#ledger.allocate());
    const vectorsLeft = await this.#leftOf(keyId, wanted === undefined);
    if (to.isOver()) return undefined;
    to.send({ case: "keyMade", value: { id, keyId, vectorsLeft } });
    let ms = 0;
    let bytes = 0;
    const digests: Uint8Array[] = [];
    for (const [group, layer] of this.#adapter.layers.entries()) {
      await to.untilTaken();
      if (to.isOver()) return undefined;
      const part = await this.#make(group, keyId, digests);
      if (part === undefined || to.isOver()) return undefined;
      const { weights, hint, signature, digest } = part;
      digests.push(digest);
      to.sendPart({ id, group, weights, hint, signature });
      ms += part.ms;
      bytes += layer.keyBytes;
    }
    return { isRepeated: wanted !== undefined, ms, bytes };
  }

  async #leftOf(keyId: Uint8Array, isNew: boolean): Promise<number> {
    if (isNew) return this.#adapter.bundle.manifest.parameters.vectorsPerKey;
    const [left] = await this.#ledger.left([keyId]);
    if (left === undefined) throw keyRefused("unknown_key");
    if (left <= 0) throw keyRefused("worn_key");
    return left;
  }

  /** Undefined if the client has gone. */
  async #make(
    group: number,
    keyId: Uint8Array,
    digests: readonly Uint8Array[],
  ): Promise<KeyPart | undefined> {
    const { owner, party, share } = this.#to;
    const adapter = this.#adapter;
    const place = this.#tools.turns.enter(this.#ledger.account);
    this.#place = place;
    const held = COPIES * adapter.layers[group].keyBytes;
    let isHeld = false;
    try {
      await place.ready;
      if (this.#to.isOver()) return undefined;
      isHeld = share.hold(held);
      if (!isHeld) throw noRoom();
      const key = groupKeyOf(adapter, this.#ledger.account, keyId, group);
      const before = group === adapter.layers.length - 1 ? digests : [];
      return await this.#tools.replies.makeKeyPart({ owner, party, adapter, group, keyId, key, before });
    } finally {
      if (isHeld) share.release(held);
      place.leave();
    }
  }
}

function noRoom(): TacetError {
  return new TacetError("too_many_requests", "too many bytes wait for a part of the key", {
    hint: "read what has come, and ask for the same key again",
  });
}
