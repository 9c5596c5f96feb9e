/**
 * The activations of one group, encrypted and sent: here or, for parts of long prompts, in threads beside; and y, when
 * the answers are there.
 */
import { assertLength } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { ClientLayer, ForeignQuery, OpenQuery } from "../pll/client-layer.ts";
import { FRAME_OVERHEAD_BYTES, type Limits } from "../wire/limits.ts";
import type { AskUnderKeys } from "./ask-under-keys.ts";
import type { QueryReply } from "./connection/client-connection.ts";
import { type EncryptionThreads, LEAST_VECTORS } from "./encryption/encryption-threads.ts";
import type { MaskStock } from "./mask-stock.ts";
import type { WhileAway } from "./while-away.ts";

/** Vectors of one query: short enough that provider and client work at the same time on a long prompt. */
const QUERY_VECTORS = 64;

/** The queries of one send(). */
interface SentQueries {
  /** Vectors of each. */
  readonly sizes: readonly number[];
  /** undefined: another thread is making it. */
  readonly queries: (OpenQuery | undefined)[];
  readonly answers: Promise<QueryReply>[];
  /** Answered, or given up: what is still being made is not sent, and x may be someone else's memory. */
  isOver: boolean;
}

/** Queries of one group that have been sent. */
export interface PendingQuery {
  readonly group: number;
  readonly tokens: number;
  /** Resolves when all of them have been handed to the transport or wait for a key; undefined: they have been. */
  readonly asked: Promise<void> | undefined;
  /** What has not been handed on yet need not be; those who wait for rows() are told that it was aborted. */
  drop(): void;
  /** y, (tokens, rows) row-major, once the answers are there; wiped by whoever needs it last. */
  rows(): Promise<Float32Array>;
}

/** What all groups of an adapter share. */
export interface SharedParts {
  readonly asking: AskUnderKeys;
  readonly stock: MaskStock;
  readonly threads: EncryptionThreads;
  readonly away: WhileAway;
  readonly limits: Limits;
  /** Vectors of one key. */
  readonly vectorsPerKey: number;
  /** Sums, in milliseconds: encryption and recovery; framing queries and handing them to the socket. */
  readonly spent: { cryptoMs: number; sendMs: number };
}

export class GroupQueries {
  readonly #group: number;
  readonly #layer: ClientLayer;
  readonly #parts: SharedParts;
  readonly #isLast: boolean;
  /** Memory of answered queries of one vector. */
  readonly #free: Uint8Array[] = [];

  /** @param isLast of a pass: behind it masks may be made in idle time */
  constructor(group: number, layer: ClientLayer, parts: SharedParts, isLast: boolean) {
    this.#group = group;
    this.#layer = layer;
    this.#parts = parts;
    this.#isLast = isLast;
  }

  /** Encrypts x, (tokens, n) row-major, and sends it, in as many queries as the limits want. */
  send(x: Float32Array, tokens: number): PendingQuery {
    const start = performance.now();
    const { stock, threads, away, spent } = this.#parts;
    const layer = this.#layer;
    assertLength(x, "x", tokens * layer.inFeatures);
    let sending = 0;
    stock.pause();
    const sizes = this.#sizesOf(tokens);
    const sent: SentQueries = { sizes, queries: [], answers: [], isOver: false };
    const partOf = cutRows(x, sizes, layer.inFeatures);
    const foreign = tokens < LEAST_VECTORS ? [] : threads.share(this.#group, x, sizes);
    const asked = foreign.flatMap((made, i) => (made ? [this.#sendMade(made, partOf(i), i, sent)] : []));
    try {
      for (const [i, vectors] of sizes.entries()) {
        if (foreign[i]) continue;
        const memory = vectors === 1 ? this.#free.pop() : undefined;
        const query = layer.makeQuery(stock.take(vectors), partOf(i), memory);
        sent.queries[i] = query;
        const ready = performance.now();
        const answer = this.#ask(query);
        sending += performance.now() - ready;
        answer.catch(() => {}); // rows() reports it
        sent.answers[i] = answer;
      }
      // For the next group, or the first one of the next pass: while this query is on its way.
      away.put(() => stock.ensure());
    } catch (error) {
      this.#close(sent);
      throw error;
    }
    spent.sendMs += sending;
    spent.cryptoMs += performance.now() - start - sending;
    let rows: Promise<Float32Array> | undefined;
    return {
      group: this.#group,
      tokens,
      asked: asked.length === 0 ? undefined : Promise.all(asked).then(() => {}),
      drop: () => {
        sent.isOver = true;
      },
      rows: () => (rows ??= this.#recover(tokens, sent)),
    };
  }

  #ask(query: OpenQuery): Promise<QueryReply> {
    return this.#parts.asking.ask(this.#group, this.#layer, query);
  }

  /**
   * Sends query `index` when another thread has made it, or makes it here if that one could not.
   *
   * @returns resolves when it has been asked, or will not be
   */
  #sendMade(
    foreign: Promise<ForeignQuery | undefined>,
    x: Float32Array,
    index: number,
    sent: SentQueries,
  ): Promise<void> {
    // In an object: to wait for that it is asked is not to wait for the answer.
    const asking = foreign.then((made) => ({ answer: this.#askMade(made, x, index, sent) }));
    const answer = asking.then((asked) => asked.answer);
    answer.catch(() => {}); // rows() reports it
    sent.answers[index] = answer;
    return asking.then(
      () => {},
      () => {},
    );
  }

  #askMade(
    made: ForeignQuery | undefined,
    x: Float32Array,
    index: number,
    sent: SentQueries,
  ): Promise<QueryReply> {
    const { stock, threads, spent } = this.#parts;
    const layer = this.#layer;
    const start = performance.now();
    let query: OpenQuery;
    try {
      if (sent.isOver) throw new TacetError("aborted", "the query is not wanted any more");
      if (made && made.vectors !== sent.sizes[index]) throw new RangeError("a thread made another query");
      query = made ? layer.takeIn(made) : layer.makeQuery(stock.take(sent.sizes[index]), x);
    } finally {
      if (made) threads.giveBack(made);
    }
    sent.queries[index] = query;
    const ready = performance.now();
    spent.cryptoMs += ready - start;
    const answer = this.#ask(query);
    spent.sendMs += performance.now() - ready;
    return answer;
  }

  /** y of all vectors: u = B·x̂ + H·s − answer, scaled. */
  async #recover(tokens: number, sent: SentQueries): Promise<Float32Array> {
    const layer = this.#layer;
    const { sizes, queries } = sent;
    try {
      const answers = await this.#parts.away.wait(sent.answers);
      const start = performance.now();
      const rows = layer.rows;
      const y = new Float32Array(tokens * rows);
      let first = 0;
      for (const [i, vectors] of sizes.entries()) {
        if (answers[i].words.length !== vectors * layer.replyBytes) {
          throw new TacetError(
            "bad_frame",
            "the provider's answer has another length than the query asks for",
          );
        }
        const part = sizes.length === 1 ? y : y.subarray(first * rows, (first + vectors) * rows);
        const query = queries[i]!;
        layer.recoverResult(query, answers[i].words, part);
        if (vectors === 1) this.#free.push(query.bytes);
        first += vectors;
      }
      this.#parts.spent.cryptoMs += performance.now() - start;
      if (this.#isLast) this.#parts.stock.rest();
      return y;
    } finally {
      this.#close(sent);
    }
  }

  /** Wipes queries that are answered, or whose answers are not wanted. */
  #close(sent: SentQueries): void {
    sent.isOver = true;
    for (const query of sent.queries) if (query) this.#layer.discard(query);
  }

  /** Vectors of each query, so that all queries of a pass are within the provider's limits. */
  #sizesOf(tokens: number): number[] {
    if (tokens === 1) return [1];
    const { limits, threads, vectorsPerKey } = this.#parts;
    const { maxMessageBytes, maxVectors, maxInFlight } = limits;
    const fitting = Math.floor((maxMessageBytes - FRAME_OVERHEAD_BYTES) / this.#layer.queryBytes);
    // A query for each thread, if it is worth the way there.
    const makers = Math.min(threads.ready + 1, Math.floor(tokens / LEAST_VECTORS));
    const share = Math.ceil(tokens / Math.max(1, makers));
    const wanted = Math.max(Math.min(QUERY_VECTORS, share), Math.ceil(tokens / maxInFlight));
    const most = Math.max(1, Math.min(wanted, maxVectors, fitting, vectorsPerKey));
    const count = Math.ceil(tokens / most);
    const even = Math.ceil(tokens / count);
    const sizes: number[] = [];
    for (let first = 0; first < tokens; first += even) sizes.push(Math.min(even, tokens - first));
    return sizes;
  }
}

/** Rows of x: those of each query. */
function cutRows(x: Float32Array, sizes: readonly number[], width: number): (index: number) => Float32Array {
  if (sizes.length === 1) return () => x;
  const starts = [0];
  for (const size of sizes) starts.push(starts[starts.length - 1] + size * width);
  return (index) => x.subarray(starts[index], starts[index + 1]);
}
