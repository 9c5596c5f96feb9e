/**
 * The queries of one connection: each is checked, kept memory for, charged, answered and counted. A fault of one is its
 * own.
 */
import { TacetError } from "../base/errors.ts";
import type { WaitingShare } from "../base/waiting-share.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import type { ProviderLayer } from "../pll/provider-layer.ts";
import type { AnswerFields, ClientMessage } from "../wire/frames.ts";
import type { Limits } from "../wire/limits.ts";
import type { ProviderEvent, ProviderTotals } from "./events.ts";
import { GroupKeys } from "./group-keys.ts";
import type { Charged, KeyLedger } from "./key-ledger.ts";
import type { KeyRates } from "./key-rates.ts";
import { Meter } from "./meter.ts";
import type { ComputedReply, ReplyScheduler } from "./reply-scheduler.ts";
import type { ServedAdapter } from "./served-adapter.ts";

/** What is kept of a message that waits, besides its bytes. */
export const HELD_COST = 256;

export type Query = Extract<ClientMessage, { case: "query" }>["value"];

/** What all connections of a provider share. */
export interface QueryTools {
  readonly limits: Limits;
  readonly totals: ProviderTotals;
  readonly replies: ReplyScheduler;
  readonly keys: { readonly rates: KeyRates };
  emit(event: ProviderEvent): void;
}

/** The connection that queries come from. */
export interface QuerySource {
  /** Its number, for events. */
  readonly id: number;
  readonly owner: object;
  /** Whose turns long queries take: the key, or a connection without one. */
  readonly party: object | string;
  readonly share: WaitingShare;
  isOver(): boolean;
  send(answer: AnswerFields): void;
}

export class OpenQueries {
  readonly #tools: QueryTools;
  readonly #adapter: ServedAdapter;
  readonly #ledger: KeyLedger;
  readonly #from: QuerySource;
  readonly #keys: GroupKeys;
  #count = 0;
  #vectors = 0;

  constructor(tools: QueryTools, adapter: ServedAdapter, ledger: KeyLedger, from: QuerySource) {
    this.#tools = tools;
    this.#adapter = adapter;
    this.#ledger = ledger;
    this.#from = from;
    this.#keys = new GroupKeys(adapter, ledger.account);
  }

  /** Queries that wait or are being computed. */
  get count(): number {
    return this.#count;
  }

  /** Vectors that have been answered. */
  get vectors(): number {
    return this.#vectors;
  }

  /**
   * Charges a query and answers it: at once where nothing has to be waited for.
   *
   * @throws TacetError what is wrong with it, or too_many_requests, and nothing has been charged then; what charging and
   *   answering throw. What is returned rejects with the same.
   */
  answer(query: Query): void | Promise<void> {
    const held = this.#hold(query, this.#check(query));
    const since = performance.now();
    this.#count++;
    const failed = (error: unknown): never => {
      this.#ended(held);
      throw error;
    };
    const send = (computed: ComputedReply, { left }: Charged) => {
      if (!this.#from.isOver()) this.#send(query, held, computed, left, since);
    };
    const compute = (charged: Charged) => {
      const forgetWorn = () => {
        // Nobody asks under it any more, but to repeat what was asked.
        if (charged.keyLeft === 0) this.#tools.replies.forget(this.#keys.of(query.keyId, query.group));
      };
      if (this.#from.isOver()) return forgetWorn();
      return whenThere(this.#compute(query), (computed) => {
        forgetWorn();
        send(computed, charged);
      });
    };
    try {
      const answered = whenThere(this.#charge(query), compute);
      return answered instanceof Promise ? answered.catch(failed) : answered;
    } catch (error) {
      return failed(error);
    }
  }

  /** The layer that answers it. Throws what is wrong with the query. */
  #check({ group, vectors, ciphertext, keyId }: Query): ProviderLayer {
    const { limits } = this.#tools;
    const { layers } = this.#adapter;
    const layer = group < layers.length ? layers[group] : undefined;
    if (layer === undefined) throw new TacetError("unknown_group", `the bundle has no group ${group}`);
    if (vectors > limits.maxVectors) {
      const what = `${vectors} vectors exceed the limit of ${limits.maxVectors} a query`;
      throw new TacetError("too_large", what);
    }
    if (this.#count >= limits.maxInFlight) {
      throw new TacetError("too_many_requests", `more than ${limits.maxInFlight} queries are open`);
    }
    layer.checkQuery(ciphertext, vectors);
    if (keyId.length !== KEY_ID_BYTES) {
      const what = `a query names a key with ${KEY_ID_BYTES} bytes, got ${keyId.length}`;
      throw new TacetError("bad_query", what, { hint: "ask for a key first, and name it in each query" });
    }
    return layer;
  }

  /**
   * Keeps memory for a query and its reply until that is sent. A query keeps all bytes alive that came with it.
   *
   * @throws TacetError too_many_requests if there is none to be had
   */
  #hold({ vectors, ciphertext }: Query, layer: ProviderLayer): number {
    const bytes = HELD_COST + ciphertext.buffer.byteLength + vectors * layer.replyBytes;
    if (this.#from.share.hold(bytes)) return bytes;
    throw new TacetError("too_many_requests", "too many bytes of queries and answers wait", {
      hint: "read the answers, and ask again when some have come",
    });
  }

  /** Charged before it is computed: what has been paid for may be asked again, what has not been is not worth it. */
  #charge({ group, vectors, ciphertext, keyId }: Query): Charged | Promise<Charged> {
    const { name, bundle } = this.#adapter;
    const ledger = this.#ledger;
    return whenThere(ledger.charge(group, vectors, ciphertext, keyId), (charged) => {
      if (ledger instanceof Meter) {
        this.#tools.emit({ type: "charged", connection: this.#from.id, adapter: name, vectors });
      }
      if (charged.replayed) return charged;
      if (charged.keyLeft === 0) {
        this.#tools.emit({ type: "worn", connection: this.#from.id, adapter: name, group });
      }
      const { vectorsPerKey } = bundle.manifest.parameters;
      this.#tools.keys.rates.charged(ledger.account, name, group, vectors, vectorsPerKey);
      return charged;
    });
  }

  /** A short query at once, a long one in parts with others' parts in between. */
  #compute({ group, vectors, ciphertext, keyId }: Query): ComputedReply | Promise<ComputedReply> {
    const { owner, party } = this.#from;
    const adapter = this.#adapter;
    const key = this.#keys.of(keyId, group);
    return this.#tools.replies.answer({ owner, party, adapter, group, vectors, query: ciphertext, key });
  }

  #send(
    { id, vectors }: Query,
    held: number,
    { words, ms }: ComputedReply,
    left: number | undefined,
    since: number,
  ): void {
    this.#ended(held);
    const { totals } = this.#tools;
    totals.queries++;
    totals.vectors += vectors;
    totals.computeMs += ms;
    this.#vectors += vectors;
    this.#from.send({ id, words, computeMicros: Math.round(ms * 1000), vectorsLeft: left });
    const waited = performance.now() - since;
    const { name } = this.#adapter;
    this.#tools.emit({
      type: "answered",
      connection: this.#from.id,
      adapter: name,
      query: id,
      vectors,
      ms: waited,
    });
  }

  #ended(held: number): void {
    this.#count--;
    this.#from.share.release(held);
  }
}

/** Uses a value: at once, where it is there. A turn of the microtask queue for each step costs as much as an answer. */
function whenThere<T, R>(value: T | Promise<T>, use: (value: T) => R | Promise<R>): R | Promise<R> {
  return value instanceof Promise ? value.then(use) : use(value);
}
