/**
 * The provider: adapters and the connections that query them. It keeps no state of a client beyond what a
 * connection has said in its Hello, so any replica with the same state folders answers any query; API keys and what
 * accounts have asked are in a {@link ProviderStore}, which replicas share.
 *
 * No socket is opened here: a server hands over each {@link MessageSocket}. @module
 */
import { TacetError } from "../base/errors.ts";
import type { MessageSocket } from "../base/platform.ts";
import { WaitingBytes, type WaitingShare } from "../base/waiting-bytes.ts";
import { DEFAULT_LIMITS, type Limits } from "../wire/limits.ts";
import { type AnswerPool, Answers } from "./answers.ts";
import { hashApiKey, keyAllows, unauthorized } from "./api-keys.ts";
import { Connection } from "./connection.ts";
import { Meter, type Sha256 } from "./meter.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import type { KeyRecord, ProviderStore, Soon } from "./store.ts";

export type { AnswerPart, AnswerPool, Computed } from "./answers.ts";
export type { Sha256 } from "./meter.ts";
export { loadServedAdapter, type ServedAdapter } from "./served-adapter.ts";
export type { Budget, KeyRecord, ProviderStore, Reservation, Reserved } from "./store.ts";

/** What a provider tells its operator. Never activations, ciphertexts, keys or weights. */
export type ProviderEvent =
  | { readonly type: "connected"; readonly connection: number }
  /** A query was paid for; a repeat is counted here and not charged again. */
  | {
      readonly type: "charged";
      readonly connection: number;
      readonly adapter: string;
      readonly vectors: number;
    }
  | {
      readonly type: "answered";
      readonly connection: number;
      readonly adapter: string;
      /** The client's number of the query. */
      readonly query: number;
      readonly vectors: number;
      /** From the query's arrival to its answer's departure, waiting included. */
      readonly ms: number;
    }
  /** A query was refused; the connection goes on. */
  | { readonly type: "failed"; readonly connection: number; readonly query: number; readonly code: string }
  | { readonly type: "welcomed"; readonly connection: number; readonly adapter: string }
  | { readonly type: "refused"; readonly connection: number; readonly code: string }
  | { readonly type: "closed"; readonly connection: number; readonly code: number; readonly vectors: number }
  | { readonly type: "fault"; readonly connection: number; readonly name: string };

export interface ProviderOptions {
  readonly limits?: Partial<Limits>;
  /** Milliseconds in which a connection must say Hello. */
  readonly helloTimeoutMs?: number;
  /** Bytes that may wait for a client that does not read before it is dropped. */
  readonly maxBufferedBytes?: number;
  /** Account of the memory that waits, which sockets share; by default one for this provider. */
  readonly waiting?: WaitingBytes;
  /** Most connections of one API key at a time; by default any number. */
  readonly maxConnectionsPerKey?: number;
  /** Whether a bearer token may use an adapter; without it everybody may. */
  readonly authorize?: (token: string, adapter: string) => boolean;
  /** API keys and budgets: with it a client's token is an API key. Without it nothing is counted. */
  readonly store?: ProviderStore;
  /** A faster SHA-256 than the portable one, for the digests of charged queries. */
  readonly sha256?: Sha256;
  /** Milliseconds since 1970; by default the clock's. */
  readonly now?: () => number;
  /** Where long queries are computed; by default in this thread. */
  readonly pool?: AnswerPool;
  readonly onEvent?: (event: ProviderEvent) => void;
}

/** Totals since the start. */
export interface ProviderTotals {
  connections: number;
  queries: number;
  vectors: number;
  bytesIn: number;
  bytesOut: number;
  failures: number;
  /** Milliseconds spent on answers. */
  computeMs: number;
}

/** What a connection may ask, and what counts it; nothing counts where there is no store. */
export interface Admission {
  readonly adapter: ServedAdapter;
  readonly meter: Meter | undefined;
  /** Public name of the API key, where there is one. */
  readonly keyId: string | undefined;
}

const MAX_BUFFERED_BYTES = 64 << 20;
const HELLO_TIMEOUT_MS = 10_000;
/** Of a name that a client gave and that goes back to it in an error. */
const LONGEST_NAME = 80;
/** Listed where a client asks for an adapter that is not there. */
const MOST_NAMES = 20;

export class Provider {
  readonly limits: Limits;
  readonly answers: Answers;
  readonly helloTimeoutMs: number;
  readonly maxBufferedBytes: number;
  readonly waiting: WaitingBytes;
  readonly totals: ProviderTotals = {
    connections: 0,
    queries: 0,
    vectors: 0,
    bytesIn: 0,
    bytesOut: 0,
    failures: 0,
    computeMs: 0,
  };
  readonly #adapters = new Map<string, ServedAdapter>();
  readonly #connections = new Set<Connection>();
  readonly #options: ProviderOptions;
  /** Key id → connections that were welcomed with it. */
  readonly #ofKey = new Map<string, number>();
  #nextConnection = 1;
  #draining = false;

  /** @throws TacetError bad_state if there is no adapter or two have one name */
  constructor(adapters: readonly ServedAdapter[], options: ProviderOptions = {}) {
    if (adapters.length === 0) throw new TacetError("bad_state", "a provider needs at least one adapter");
    for (const adapter of adapters) {
      if (this.#adapters.has(adapter.name)) {
        throw new TacetError("bad_state", `two state folders hold an adapter named ${adapter.name}`, {
          hint: "give each adapter its own --name when its bundle is made",
        });
      }
      this.#adapters.set(adapter.name, adapter);
    }
    this.#options = options;
    this.answers = new Answers(options.pool);
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.waiting = options.waiting ?? new WaitingBytes();
    this.maxBufferedBytes = options.maxBufferedBytes ?? MAX_BUFFERED_BYTES;
    this.helloTimeoutMs = options.helloTimeoutMs ?? HELLO_TIMEOUT_MS;
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

  /** Serves a socket until it closes. */
  accept(socket: MessageSocket): void {
    this.totals.connections++;
    const connection = new Connection(this, socket, this.#nextConnection++, () => {
      this.#connections.delete(connection);
    });
    this.#connections.add(connection);
    this.emit({ type: "connected", connection: connection.id });
    if (this.#draining) connection.shutDown();
  }

  /**
   * The adapter that a Hello asks for, the only or first one where it names none, and what counts its queries. A token
   * knows of the adapters that it may use and of no others: those are unknown to it, whether they exist or not.
   *
   * @throws TacetError unauthorized for a token that may use none; unknown_adapter
   */
  admit(name: string, token: string): Soon<Admission> {
    const { authorize = () => true, store } = this.#options;
    if (store === undefined) {
      const adapter = this.#find(name, (each) => authorize(token, each));
      return { adapter, meter: undefined, keyId: undefined };
    }
    const found = store.findKey(hashApiKey(token));
    const use = (record: KeyRecord | undefined): Admission => {
      const now = this.#options.now ?? Date.now;
      const adapter = this.#find(name, (each) => keyAllows(record, each, now()));
      const { sha256 } = this.#options;
      const tools = { store, now, ...(sha256 ? { sha256 } : {}) };
      const key = record as KeyRecord;
      return { adapter, meter: new Meter(tools, key, adapter), keyId: key.id };
    };
    return found instanceof Promise ? found.then(use) : use(found);
  }

  /**
   * Counts a connection of a key. Returns what takes it back.
   *
   * @throws TacetError too_many_requests if the key has as many as it may
   */
  enter(keyId: string): () => void {
    const open = this.#ofKey.get(keyId) ?? 0;
    const { maxConnectionsPerKey: most = Number.POSITIVE_INFINITY } = this.#options;
    if (open >= most) {
      throw new TacetError("too_many_requests", `the key has ${open} connections open, and may have no more`);
    }
    this.#ofKey.set(keyId, open + 1);
    return () => {
      const left = (this.#ofKey.get(keyId) ?? 1) - 1;
      if (left === 0) this.#ofKey.delete(keyId);
      else this.#ofKey.set(keyId, left);
    };
  }

  /** For a socket that was not given a share: it has no address, and can't be paused. */
  openShare(socket: MessageSocket): WaitingShare {
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

  emit(event: ProviderEvent): void {
    this.#options.onEvent?.(event);
  }

  /**
   * Takes no queries from now on, answers those that are open, tells each client when its last one has left, and
   * closes. Resolves when all are told; {@link shutDown} cuts it short.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    await Promise.all([...this.#connections].map((connection) => connection.drain()));
  }

  /** Tells every client that the provider stops, and closes. New connections are told the same. */
  shutDown(): void {
    this.#draining = true;
    for (const connection of [...this.#connections]) connection.shutDown();
  }
}

function listOf(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES).join(", ");
  return names.length > MOST_NAMES ? `${shown} and ${names.length - MOST_NAMES} more` : shown;
}
