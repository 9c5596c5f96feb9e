/**
 * Queries that have been made, asked under the keys in hand: no more at a time than the provider takes, and under another
 * key where one is refused.
 */
import { TacetError } from "../base/errors.ts";
import type { ClientLayer, OpenQuery } from "../pll/client-layer.ts";
import type { Limits } from "../wire/limits.ts";
import type { QueryReply } from "./connection/client-connection.ts";
import type { HeldKey, KeyRing } from "./key-ring.ts";
import type { LineEstimate } from "./line-estimate.ts";
import type { QueryTransport } from "./query-transport.ts";
import type { WhileAway } from "./while-away.ts";

/**
 * Keys that one query is refused under before it fails. Those that were in hand when the first was refused don't count:
 * other processes may have used them up, or the provider began anew. More than one, since a program that shares the kept
 * keys of the account may use up the one that has just come. Each refusal shows the provider the same bytes again and
 * nothing else (docs/security.md, *What the provider sees*).
 */
const MOST_KEYS_TRIED = 4;
/** Of keys that are bound to a connection so many are lost with it before the query fails. */
const MOST_LOSSES = { timed_out: 2, others: 4 };

export class AskUnderKeys {
  /** From a query's sending to its answer, minus what the provider computed, in milliseconds. */
  wireMs = 0;
  /** As the provider reports. */
  providerMs = 0;
  readonly #transport: QueryTransport;
  readonly #limits: Limits;
  readonly #keys: KeyRing;
  readonly #line: LineEstimate;
  readonly #away: WhileAway;
  /** Queries that are not answered, and those that wait for one of them. */
  #open = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param limits the transport's, read anew for each query: they may change */
  constructor(
    transport: QueryTransport,
    limits: Limits,
    keys: KeyRing,
    { line, away }: { readonly line: LineEstimate; readonly away: WhileAway },
  ) {
    this.#transport = transport;
    this.#limits = limits;
    this.#keys = keys;
    this.#line = line;
    this.#away = away;
  }

  /**
   * Sends at once where a key is in hand, unless contexts beside this one have as many queries open as the provider takes.
   * A key that the provider refuses is replaced: the same bytes are asked under another one.
   */
  async ask(group: number, layer: ClientLayer, query: OpenQuery): Promise<QueryReply> {
    let [tried, losses] = [0, 0];
    let arrivals = Number.POSITIVE_INFINITY;
    for (;;) {
      const key = this.#keys.takeNow(group, query.vectors) ?? (await this.#keys.take(group, query.vectors));
      try {
        return await this.#askUnder(key, group, layer, query);
      } catch (error) {
        if (!isRefusedKey(error)) throw error;
        this.#keys.drop(key);
        // The key went with its connection: another one, unless connections go all the time.
        const loss = error.cause instanceof TacetError ? error.cause : undefined;
        if (loss && ++losses >= (loss.code === "timed_out" ? MOST_LOSSES.timed_out : MOST_LOSSES.others))
          throw loss;
        if (key.arrival > arrivals && ++tried === MOST_KEYS_TRIED) throw refusesAll(error);
        arrivals = Math.min(arrivals, this.#keys.arrivals);
      } finally {
        this.#keys.done(key);
      }
    }
  }

  async #askUnder(key: HeldKey, group: number, layer: ClientLayer, query: OpenQuery): Promise<QueryReply> {
    if (this.#open < this.#limits.maxInFlight) this.#open++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const start = performance.now();
    this.#line.sent(query.vectors, start);
    let answer: QueryReply | undefined;
    let isDue = true;
    // What the answer will be taken from: when the base model has nothing to compute meanwhile.
    const apply = () => {
      if (isDue && query.state !== "spent") layer.applyKey(query, key.groups[group]);
      isDue = false;
    };
    try {
      const pending = this.#transport.query(group, query.vectors, query.bytes, key.id);
      this.#away.put(apply);
      answer = await pending;
      apply();
      const now = performance.now();
      this.#line.answered(query.vectors, now - start, answer.providerMs, now);
      this.providerMs += answer.providerMs;
      this.wireMs += Math.max(0, now - start - answer.providerMs);
      return answer;
    } finally {
      isDue = false; // the key may be gone by the time that somebody waits
      if (answer === undefined) this.#line.failed();
      const next = this.#waiting.shift();
      if (next) next();
      else this.#open--;
    }
  }
}

const isRefusedKey = (error: unknown): error is TacetError =>
  error instanceof TacetError && (error.code === "unknown_key" || error.code === "worn_key");

function refusesAll(cause: TacetError): TacetError {
  return new TacetError(cause.code, `the provider refuses the keys that it makes: ${cause.message}`, {
    hint: "the provider is broken: tell its operator",
    cause,
  });
}
