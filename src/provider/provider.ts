/**
 * The provider: adapters and the connections that query them. It keeps no state of a client beyond what a
 * connection has said in its Hello, so any replica with the same state folders answers any query; API keys and what
 * accounts have asked are in a {@link ProviderStore}, which replicas share.
 *
 * No socket is opened here: a server hands over each {@link MessageSocket}. @module
 */
import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { MessageSocket, Sha256, SignEd25519 } from "../base/platform.ts";
import { WaitingBytes } from "../base/waiting-bytes.ts";
import type { WaitingShare } from "../base/waiting-share.ts";
import type { Limits } from "../wire/limits.ts";
import { KeyAllowances } from "./allowance.ts";
import { AnonymousKeys } from "./anonymous-keys.ts";
import { hashApiKey, keyAllows, unauthorized } from "./api-keys.ts";
import type { ProviderEvent, ProviderTotals } from "./events.ts";
import { newEpoch } from "./key-ids.ts";
import { KeyRates } from "./key-rates.ts";
import { largestKeyPart, limitsFor } from "./limits.ts";
import { Meter } from "./meter.ts";
import { OneAtATime } from "./one-at-a-time.ts";
import type { Admission, ConnectionHost } from "./connection-host.ts";
import { ProviderConnection } from "./provider-connection.ts";
import { type ReplyPool, ReplyScheduler } from "./reply-scheduler.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import type { KeyRecord, ProviderStore } from "./store.ts";

export type { Sha256, SignEd25519 } from "../base/platform.ts";
export type { ProviderEvent, ProviderTotals } from "./events.ts";
export type { KeyPart } from "./key-part.ts";
export type { GroupKey, GroupKeyName } from "./layer-secrets.ts";
export type { ComputedReply, KeyPartTask, ReplyPart, ReplyPool } from "./reply-scheduler.ts";
export { loadServedAdapter, type ServedAdapter } from "./served-adapter.ts";
export type { Grant, KeyRecord, ProviderStore, Reservation, Reserved } from "./store.ts";

export interface ProviderOptions {
  /** What is left out follows from the adapters and from what is given. */
  readonly limits?: Partial<Limits> | undefined;
  /** Milliseconds in which a connection must say Hello. */
  readonly helloTimeoutMs?: number | undefined;
  /** Bytes that may wait for a client that does not read before it is dropped, besides one part of a key. */
  readonly maxBufferedBytes?: number | undefined;
  /** Account of the memory that waits, which sockets share; by default one for this provider. */
  readonly waiting?: WaitingBytes | undefined;
  /** Most connections of one API key at a time; by default any number. */
  readonly maxConnectionsPerKey?: number | undefined;
  /** Whether a bearer token may use an adapter; without it everybody may. */
  readonly authorize?: ((token: string, adapter: string) => boolean) | undefined;
  /** API keys and budgets: with it a client's token is an API key. Without it nothing is counted. */
  readonly store?: ProviderStore | undefined;
  /** A faster SHA-256 than the portable one, for the digests of charged queries and of keys. */
  readonly sha256?: Sha256 | undefined;
  /** Faster Ed25519 signatures than the portable ones, which keys have. */
  readonly signEd25519?: SignEd25519 | undefined;
  /** Resolves when what has come meanwhile has been read: between steps of long work. By default after a timer. */
  readonly afterEvents?: (() => Promise<void>) | undefined;
  /** Milliseconds since 1970; by default the clock's. */
  readonly now?: (() => number) | undefined;
  /** Where long queries are computed; by default in this thread. */
  readonly pool?: ReplyPool | undefined;
  readonly onEvent?: ((event: ProviderEvent) => void) | undefined;
}

const OPTIONS: OptionTypes<ProviderOptions> = {
  waiting: "object",
  limits: "object",
  helloTimeoutMs: "number",
  maxBufferedBytes: "number",
  maxConnectionsPerKey: "number",
  authorize: "function",
  store: "object",
  sha256: "function",
  signEd25519: "function",
  afterEvents: "function",
  now: "function",
  pool: "object",
  onEvent: "function",
};

const LIMITS: OptionTypes<Limits> = {
  maxMessageBytes: "number",
  maxVectors: "number",
  maxInFlight: "number",
};

const MAX_BUFFERED_BYTES = 64 << 20;
const HELLO_TIMEOUT_MS = 10_000;
/** Longest client-supplied name quoted in an error, in characters. */
const LONGEST_NAME = 80;
/** Listed where a client asks for an adapter that is not there. */
const MOST_NAMES = 20;

export class Provider {
  readonly limits: Limits;
  /** Bytes that wait, in and out, for servers of sockets to count with. */
  readonly waiting: WaitingBytes;
  readonly totals: ProviderTotals = {
    connections: 0,
    queries: 0,
    vectors: 0,
    bytesIn: 0,
    bytesOut: 0,
    failures: 0,
    computeMs: 0,
    keys: 0,
    keyMs: 0,
  };
  /** Bytes of the largest part of a key that is sent. */
  readonly keyPartBytes: number;
  readonly #adapters = new Map<string, ServedAdapter>();
  readonly #connections = new Set<ProviderConnection>();
  readonly #options: ProviderOptions;
  /** What connections see of the provider, and nobody else. */
  readonly #host: ConnectionHost;
  readonly #replies: ReplyScheduler;
  /** Of keys that no store counts. */
  readonly #epoch = newEpoch();
  #nextConnection = 1;
  #nextAnonymous = 1;
  #draining = false;

  /**
   * @throws TacetError bad_state if there is no adapter or two have one name; bad_argument for options that do not exist
   *   or are out of range, and for marks without a store
   */
  constructor(adapters: readonly ServedAdapter[], options: ProviderOptions = {}) {
    checkOptions(options, OPTIONS, { of: "a provider" });
    checkOptions(options.limits ?? {}, LIMITS, { of: "limits" });
    if (adapters.length === 0) throw new TacetError("bad_state", "a provider needs at least one adapter");
    for (const adapter of adapters) {
      if (this.#adapters.has(adapter.name)) {
        throw new TacetError("bad_state", `two state folders hold an adapter named ${adapter.name}`, {
          hint: "give each adapter its own --name when its bundle is made",
        });
      }
      this.#adapters.set(adapter.name, adapter);
    }
    if (options.store === undefined && adapters.some(({ markSecret }) => markSecret !== undefined)) {
      throw new TacetError("bad_argument", "marks belong to accounts, and without a store there are none", {
        hint: "give a store (--data DIR or --redis URL), or do without marks",
      });
    }
    checkNumbers(options);
    this.#options = options;
    this.limits = limitsFor(adapters, options.limits);
    this.keyPartBytes = largestKeyPart(adapters);
    this.waiting = options.waiting ?? new WaitingBytes();
    const clock = () => performance.now();
    const { pool, sha256, signEd25519, afterEvents } = options;
    this.#replies = new ReplyScheduler({ pool, sha256, signEd25519, afterEvents });
    this.#host = {
      limits: this.limits,
      totals: this.totals,
      replies: this.#replies,
      keys: { replies: this.#replies, rates: new KeyRates(clock), turns: new OneAtATime() },
      allowances: new KeyAllowances(clock, options.maxConnectionsPerKey),
      now: options.now ?? Date.now,
      maxBufferedBytes: (options.maxBufferedBytes ?? MAX_BUFFERED_BYTES) + this.keyPartBytes,
      helloTimeoutMs: options.helloTimeoutMs ?? HELLO_TIMEOUT_MS,
      admit: (name, token, onKey) => this.#admit(name, token, onKey),
      openShare: (socket) => this.#openShare(socket),
      emit: (event) => this.#emit(event),
    };
    const { store } = options;
    if (store === undefined) return;
    store.onKeysChanged = () => {
      for (const connection of [...this.#connections]) connection.recheckKey();
    };
  }

  get adapterNames(): readonly string[] {
    return [...this.#adapters.keys()];
  }

  get openConnections(): number {
    return this.#connections.size;
  }

  /** Queries of all connections that wait or are being computed. */
  get inFlight(): number {
    let sum = 0;
    for (const { inFlight } of this.#connections) sum += inFlight;
    return sum;
  }

  /** Groups of keys whose secrets are in memory. */
  get heldSecrets(): number {
    return this.#replies.secrets.count;
  }

  /** Serves a socket until it closes. */
  accept(socket: MessageSocket): void {
    this.totals.connections++;
    const connection = new ProviderConnection(this.#host, socket, this.#nextConnection++, () => {
      this.#connections.delete(connection);
    });
    this.#connections.add(connection);
    this.#emit({ type: "connected", connection: connection.id });
    if (this.#draining) connection.shutDown();
  }

  /**
   * The adapter that a Hello asks for, the only or first one where it names none, and what counts its queries. A token
   * knows of the adapters that it may use and of no others: those are unknown to it, whether they exist or not.
   *
   * @param onKey told the key that a token belongs to, also where it is refused then
   * @throws TacetError unauthorized for a token that may use none; unknown_adapter
   */
  async #admit(name: string, token: string, onKey: (key: KeyRecord) => void): Promise<Admission> {
    const { authorize = () => true, store, sha256 } = this.#options;
    if (store === undefined) {
      const adapter = this.#find(name, (each) => authorize(token, each));
      const { groups, parameters } = adapter.bundle.manifest;
      const ledger = new AnonymousKeys(this.#epoch, this.#nextAnonymous++, {
        groups: groups.length,
        vectorsPerKey: parameters.vectorsPerKey,
      });
      return { adapter, meter: undefined, ledger, keyId: undefined };
    }
    const record = await store.findKey(hashApiKey(token));
    if (record !== undefined) onKey(record);
    const { now } = this.#host;
    const adapter = this.#find(name, (each) => keyAllows(record, each, now()));
    const tools = { store, now, sha256 };
    const key = record as KeyRecord;
    const meter = new Meter(tools, key, adapter);
    return { adapter, meter, ledger: meter, keyId: key.id };
  }

  /** For a socket that was not given a share: it has no address, and can't be paused. */
  #openShare(socket: MessageSocket): WaitingShare {
    const destroy = () => socket.close(1008, "too much waits");
    return this.waiting.open("", { pause: () => {}, resume: () => {}, destroy });
  }

  #find(name: string, mayUse: (adapter: string) => boolean): ServedAdapter {
    const usable = this.adapterNames.filter(mayUse);
    if (usable.length === 0) throw unauthorized();
    const wanted = name === "" ? usable[0] : name;
    const adapter = usable.includes(wanted) ? this.#adapters.get(wanted) : undefined;
    if (adapter !== undefined) return adapter;
    const shown = JSON.stringify(wanted.slice(0, LONGEST_NAME));
    throw new TacetError("unknown_adapter", `the provider has no adapter named ${shown}`, {
      hint: `it has: ${listOf(usable)} (--adapter-name)`,
    });
  }

  #emit(event: ProviderEvent): void {
    this.#options.onEvent?.(event);
  }

  /**
   * Takes no queries from now on, answers those that are open, tells each client when its last one has left, and
   * closes. Resolves when all are told; {@link shutDown} cuts it short.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    await Promise.all([...this.#connections].map((connection) => connection.drain()));
    this.#replies.secrets.close();
  }

  /** Tells every client that the provider stops, and closes. New connections are told the same. */
  shutDown(): void {
    this.#draining = true;
    for (const connection of [...this.#connections]) connection.shutDown();
    this.#replies.secrets.close();
  }
}

/** A limit that is not a number would hold nothing back. */
function checkNumbers({ helloTimeoutMs, maxBufferedBytes, maxConnectionsPerKey }: ProviderOptions): void {
  for (const [name, value] of Object.entries({ helloTimeoutMs, maxBufferedBytes, maxConnectionsPerKey })) {
    if (value === undefined || (typeof value === "number" && value > 0)) continue;
    throw new TacetError("bad_argument", `the provider's option ${name} must be a number above 0`);
  }
}

function listOf(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES).join(", ");
  return names.length > MOST_NAMES ? `${shown} and ${names.length - MOST_NAMES} more` : shown;
}
