/**
 * An adapter that stays at its provider, as the model's {@link DeltaSource}: for each group, x is encrypted, the
 * provider decrypts what the client has computed on the encrypted weights of a key, and the client turns what comes back
 * into deltas, delta = B′·y.
 *
 * Masks are made in idle time (mask-stock.ts), keys fetched ahead (key-ring.ts). What is sent, and when, depends on
 * shapes and counts only: never on a decrypted value.
 */
import { assertLength } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { EncryptionPlatform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { type BundleGroup, bundleIdBytes, groupRows } from "../bundle/manifest.ts";
import type {
  AdaptedGroup,
  DeltaSource,
  GroupInput,
  LowRankSource,
  PendingDelta,
  RoutesTaken,
} from "../model/delta-source.ts";
import { ClientLayer, type ForeignQuery, type OpenQuery } from "../pll/client-layer.ts";
import { PublicBasis } from "../pll/public-basis.ts";
import { Kernels } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource } from "../rlwe/mask-source.ts";
import { PublicElements } from "../rlwe/public-elements.ts";
import type { BaseChanges } from "../weights/base-changes.ts";
import { FRAME_OVERHEAD_BYTES, type Limits } from "../wire/limits.ts";
import { applyBasis, applyRouted } from "./apply-basis.ts";
import type { QueryReply } from "./connection/client-connection.ts";
import { type EncryptionStatus, EncryptionThreads, LEAST_VECTORS } from "./encryption/encryption-threads.ts";
import { type HeldKey, KeyRing } from "./key-ring.ts";
import type { KeySource } from "./keys.ts";
import { LineEstimate } from "./line-estimate.ts";
import { clientStock, MaskStock } from "./mask-stock.ts";
import { askOneHots } from "./one-hots.ts";
import { PairEffects } from "./pair-effects.ts";

/** What an adapter needs of a provider; tests put two replicas behind one. */
export interface QueryTransport extends KeySource {
  /** Vectors of each group that the account may still ask; undefined: any number. */
  readonly budget?: { readonly left: number } | undefined;
  /** Milliseconds from Hello to Welcome. Default: 0, as of a provider in the same machine. */
  readonly welcomeMs?: number;
  query(group: number, vectors: number, ciphertext: Uint8Array, keyId: Uint8Array): Promise<QueryReply>;
  /** Calls `send`; the queries that it sends travel together, where the transport can do that. */
  together?(send: () => void): void;
}

/** Where the time of the private layers went, in milliseconds, sums since the start. */
export interface PrivacyTimings {
  /** Encryption, recovery, B′·y, and masks that were not made in idle time: in the client's thread. */
  cryptoMs: number;
  /** Encryption in threads beside it. */
  threadMs: number;
  /** Framing queries and handing them to the socket: at the client. */
  sendMs: number;
  /** From a query's sending to its answer, minus what the provider computed; overlaps with the base model. */
  wireMs: number;
  /** As the provider reports. */
  providerMs: number;
}

/** Milliseconds between two looks at whether threads have made their masks. */
const READY_POLL_MS = 4;
/** One that hangs is not waited for. */
const MOST_READY_MS = 10_000;

/** Vectors of one query: short enough that provider and client work at the same time on a long prompt. */
const QUERY_VECTORS = 64;

/**
 * Keys that one query is refused under before it fails. Those that were in hand when the first was refused don't count:
 * other processes may have used them up, or the provider began anew. More than one, since a program that shares the kept
 * keys of the account may use up the one that has just come. Each refusal shows the provider the same bytes again and
 * nothing else (docs/security.md, *What the provider sees*).
 */
const MOST_KEYS_TRIED = 4;
/** Of keys that are bound to a connection so many are lost with it before the query fails. */
const MOST_LOSSES = { timed_out: 2, others: 4 };

/** The queries of one begin(). */
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
interface PendingQuery {
  readonly group: number;
  readonly tokens: number;
  /** Resolves when all of them have been handed to the transport or wait for a key; undefined: they have been. */
  readonly asked: Promise<void> | undefined;
  /** What has not been handed on yet need not be; those who wait for rows() are told that it was aborted. */
  drop(): void;
  /** y, (tokens, rows) row-major, once the answers are there; wiped by whoever needs it last. */
  rows(): Promise<Float32Array>;
}

/** What the first query of a pair adds to the second's deltas. */
interface AddedEffects {
  readonly query: PendingQuery;
  readonly bases: readonly PublicBasis[];
}

interface Group {
  readonly spec: BundleGroup;
  readonly layer: ClientLayer;
  /** B′ of each module. */
  readonly bases: readonly PublicBasis[];
  /** Memory of answered queries of one vector. */
  readonly free: Uint8Array[];
}

export class RemoteAdapter implements DeltaSource, LowRankSource {
  readonly groups: readonly AdaptedGroup[];
  readonly invocationTokens: readonly number[] | undefined;
  readonly lowRank: LowRankSource = this;
  readonly changes: BaseChanges;
  readonly line: LineEstimate;
  readonly #timings = { cryptoMs: 0, sendMs: 0, wireMs: 0, providerMs: 0 };
  readonly #groups: readonly Group[];
  readonly #transport: QueryTransport;
  readonly #limits: Limits;
  readonly #effects: PairEffects;
  /** Queries that are not answered, and those that wait for one of them. */
  #open = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #masks: MaskSource;
  readonly #stock: MaskStock;
  readonly #threads: EncryptionThreads;
  readonly #keys: KeyRing;
  /** What can wait until somebody waits for an answer: keys that are to be applied to what has been sent. */
  readonly #whileAway: (() => void)[] = [];
  /** How many wait. */
  #waits = 0;

  /**
   * @param limits the transport's, read anew for each query: they may change
   * @param vectorsPerKey as the provider says
   * @param encryption threads that may encrypt parts of prompts
   * @throws TacetError bad_bundle if the kernels cannot hold it
   */
  constructor(
    bundle: Bundle,
    transport: QueryTransport,
    limits: Limits,
    vectorsPerKey?: number,
    encryption?: EncryptionPlatform,
  ) {
    this.#transport = transport;
    this.#limits = limits;
    const { manifest } = bundle;
    const { parameters } = manifest;
    this.changes = bundle.changes;
    const kernels = Kernels.load();
    this.#effects = new PairEffects(kernels);
    const pool = new BufferPool(kernels);
    const bundleId = bundleIdBytes(manifest);
    const elements = new PublicElements(kernels, pool, bundleId);
    this.#masks = new MaskSource(kernels, pool, parameters, elements.element(0, false), systemRandom);
    this.#groups = manifest.groups.map((spec, g) => {
      const layer = new ClientLayer(kernels, pool, this.#masks, elements, {
        parameters,
        rows: groupRows(spec),
        inFeatures: spec.inFeatures,
        scales: bundle.groups[g].scales,
      });
      const bases = bundle.groups[g].bases.map((basis, i) => {
        const { outFeatures, rows } = spec.modules[i];
        return PublicBasis.ofRows(kernels, basis, outFeatures, rows);
      });
      return { spec, layer, bases, free: [] };
    });
    const layers = this.#groups.map(({ layer }) => layer);
    this.line = new LineEstimate(transport.welcomeMs ?? 0, layers[0]?.queryBytes ?? 0);
    const inFeatures = manifest.groups.map((group) => group.inFeatures);
    this.#threads = new EncryptionThreads(encryption, { bundleId, parameters, inFeatures });
    const onIdle = (isIdle: boolean) => this.#threads.rest(isIdle);
    this.#stock = new MaskStock(this.#masks, { ...clientStock(layers.length), onIdle });
    this.#stock.rest();
    this.#keys = new KeyRing(
      layers,
      transport,
      Math.min(vectorsPerKey ?? parameters.vectorsPerKey, parameters.vectorsPerKey),
    );
    this.invocationTokens = manifest.invocationTokens;
    this.groups = manifest.groups.map((spec) => ({
      layer: spec.layer,
      modules: spec.modules.map(({ name }) => name),
      inFeatures: spec.inFeatures,
      ...(spec.input === undefined ? {} : { input: spec.input }),
      ...(spec.rowsPerToken === undefined ? {} : { rowsPerToken: spec.rowsPerToken }),
      outFeatures: spec.modules.map(({ outFeatures }) => outFeatures),
    }));
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    const query = this.#send({ group, x }, tokens);
    return {
      asked: query.asked,
      wait: (targets) => this.#finish(query, targets).finally(() => wipe(query)),
      drop: query.drop,
    };
  }

  beginIds(group: number, ids: readonly number[]): PendingDelta {
    const query = this.#sendIds(group, ids);
    return {
      wait: (targets) => this.#finish(query, targets).finally(() => wipe(query)),
      drop: query.drop,
    };
  }

  /** The rows of all experts come back for each vector: which of them are used nobody sees. */
  beginRouted(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta {
    const query = this.#send({ group, x }, rows);
    return {
      asked: query.asked,
      wait: () => this.#finishRouted(query, routes).finally(() => wipe(query)),
      drop: query.drop,
    };
  }

  beginPair(first: GroupInput, second: GroupInput, tokens: number): readonly [PendingDelta, PendingDelta] {
    const bases = this.#effects.basesOf(first.group, second.group);
    const [one, two] = this.#sendBoth(first, second, tokens);
    // The first one's y is needed by both.
    let open = 2;
    const closed = () => {
      if (--open === 0) for (const query of [one, two]) wipe(query);
    };
    return [
      {
        asked: one.asked,
        wait: (targets) => this.#finish(one, targets).finally(closed),
        drop: one.drop,
      },
      {
        asked: two.asked,
        wait: (targets) => this.#finish(two, targets, { query: one, bases }).finally(closed),
        drop: two.drop,
      },
    ];
  }

  #sendIds(group: number, ids: readonly number[]): PendingQuery {
    const dropped = new AbortController();
    const { spec, layer } = this.#groups[group];
    if (group === 0 && ids.length > 1) this.#keys.expect(ids.length);
    const rows = askOneHots(ids, spec.inFeatures, layer.rows, dropped.signal, (x, tokens) =>
      this.#send({ group, x }, tokens).rows(),
    );
    const drop = () => dropped.abort();
    return { group, tokens: ids.length, asked: undefined, drop, rows: () => rows };
  }

  #sendBoth(first: GroupInput, second: GroupInput, tokens: number): readonly [PendingQuery, PendingQuery] {
    const sent: PendingQuery[] = [];
    try {
      const send = () => {
        for (const input of [first, second]) sent.push(this.#send(input, tokens));
      };
      if (this.#transport.together) this.#transport.together(send);
      else send();
    } catch (error) {
      for (const query of sent) wipe(query);
      throw error;
    }
    return [sent[0], sent[1]];
  }

  /** Encrypts x and sends it, in as many queries as the limits want. */
  #send({ group, x }: GroupInput, tokens: number): PendingQuery {
    const start = performance.now();
    const { layer, spec, free } = this.#groups[group];
    assertLength(x, "x", tokens * spec.inFeatures);
    let sending = 0;
    if (group === 0 && tokens > 1) this.#keys.expect(tokens);
    this.#stock.pause();
    const sizes = this.#sizesOf(layer, tokens);
    const sent: SentQueries = { sizes, queries: [], answers: [], isOver: false };
    const partOf = cutRows(x, sizes, spec.inFeatures);
    const foreign = tokens < LEAST_VECTORS ? [] : this.#threads.share(group, x, sizes);
    const asked = foreign.flatMap((made, i) =>
      made ? [this.#sendMade(group, made, partOf(i), i, sent)] : [],
    );
    try {
      for (const [i, vectors] of sizes.entries()) {
        if (foreign[i]) continue;
        const memory = vectors === 1 ? free.pop() : undefined;
        const query = layer.makeQuery(this.#stock.take(vectors), partOf(i), memory);
        sent.queries[i] = query;
        const ready = performance.now();
        const answer = this.#ask(group, query);
        sending += performance.now() - ready;
        answer.catch(() => {}); // wait() reports it
        sent.answers[i] = answer;
      }
      // For the next group, or the first one of the next pass: while this query is on its way.
      this.#doWhileAway(() => this.#stock.ensure());
    } catch (error) {
      this.#close(layer, sent);
      throw error;
    }
    this.#timings.sendMs += sending;
    this.#timings.cryptoMs += performance.now() - start - sending;
    let rows: Promise<Float32Array> | undefined;
    return {
      group,
      tokens,
      asked: asked.length === 0 ? undefined : Promise.all(asked).then(() => {}),
      drop: () => {
        sent.isOver = true;
      },
      rows: () => (rows ??= this.#recover(group, tokens, sent)),
    };
  }

  /**
   * Sends query `index` when another thread has made it, or makes it here if that one could not.
   *
   * @returns resolves when it has been asked, or will not be
   */
  #sendMade(
    group: number,
    foreign: Promise<ForeignQuery | undefined>,
    x: Float32Array,
    index: number,
    sent: SentQueries,
  ): Promise<void> {
    // In an object: to wait for that it is asked is not to wait for the answer.
    const asking = foreign.then((made) => ({ answer: this.#askMade(group, made, x, index, sent) }));
    const answer = asking.then((asked) => asked.answer);
    answer.catch(() => {}); // wait() reports it
    sent.answers[index] = answer;
    return asking.then(
      () => {},
      () => {},
    );
  }

  #askMade(
    group: number,
    made: ForeignQuery | undefined,
    x: Float32Array,
    index: number,
    sent: SentQueries,
  ): Promise<QueryReply> {
    const { layer } = this.#groups[group];
    const start = performance.now();
    let query: OpenQuery;
    try {
      if (sent.isOver) throw new TacetError("aborted", "the query is not wanted any more");
      if (made && made.vectors !== sent.sizes[index]) throw new RangeError("a thread made another query");
      query = made ? layer.takeIn(made) : layer.makeQuery(this.#stock.take(sent.sizes[index]), x);
    } finally {
      if (made) this.#threads.giveBack(made);
    }
    sent.queries[index] = query;
    const ready = performance.now();
    this.#timings.cryptoMs += ready - start;
    const answer = this.#ask(group, query);
    this.#timings.sendMs += performance.now() - ready;
    return answer;
  }

  /** Wipes queries that are answered, or whose answers are not wanted. */
  #close(layer: ClientLayer, sent: SentQueries): void {
    sent.isOver = true;
    for (const query of sent.queries) if (query) layer.discard(query);
  }

  /** The most vectors that asking for a pair's effects takes of one group's budget. */
  get largestRank(): number {
    const single = this.#groups.filter(({ bases, spec }) => bases.length === 1 && spec.input === undefined);
    return Math.max(0, ...single.map(({ layer }) => layer.rows));
  }

  rankOf(group: number): number {
    return this.#groups[group].layer.rows;
  }

  basisOf(group: number): Float32Array {
    const [basis, ...others] = this.#groups[group].bases;
    if (!basis || others.length > 0) throw new RangeError(`group ${group} has not one basis`);
    return basis.columns();
  }

  setEffects(first: number, second: number, effects: readonly Float32Array[]): void {
    this.#effects.add(first, second, this.groups[second].outFeatures, effects);
  }

  hasEffects(second: number): boolean {
    return this.#effects.has(second);
  }

  get vectorsLeft(): number | undefined {
    return this.#transport.budget?.left;
  }

  /** Resolves when the masks of some answers' length are made: they are made in idle time, but one may wait for it. */
  async ready(): Promise<void> {
    await this.#stock.ready();
    if (!this.#threads.isFull) this.#stock.rest();
    const start = performance.now();
    while (!this.#threads.isFull && performance.now() - start < MOST_READY_MS)
      await new Promise<void>((resolve) => setTimeout(resolve, READY_POLL_MS));
  }

  /** Milliseconds of idle time that the masks of one decode step take, on the average so far. */
  get idleMsPerToken(): number {
    const { idleMs, idleVectors } = this.#stock;
    return idleVectors === 0 ? 0 : (idleMs / idleVectors) * this.#groups.length;
  }

  /**
   * Takes the keys that were kept from before, and begins to fetch one where there are none.
   *
   * @throws TacetError bad_key
   */
  restoreKeys(): Promise<void> {
    return this.#keys.restore();
  }

  get timings(): Readonly<PrivacyTimings> {
    return { ...this.#timings, threadMs: this.#threads.ms };
  }

  /** Where queries of prompts are encrypted. */
  get encryption(): EncryptionStatus {
    return this.#threads.status;
  }

  /** Forgets all key material; the adapter cannot be used any more. */
  dispose(): void {
    this.#whileAway.length = 0;
    this.#threads.dispose();
    this.#keys.dispose();
    this.#stock.dispose();
    this.#masks.wipe();
  }

  /**
   * Sends at once where a key is in hand, unless contexts beside this one have as many queries open as the provider takes.
   * A key that the provider refuses is replaced: the same bytes are asked under another one.
   */
  async #ask(group: number, query: OpenQuery): Promise<QueryReply> {
    const { layer } = this.#groups[group];
    let [tried, losses] = [0, 0];
    let arrivals = Number.POSITIVE_INFINITY;
    for (;;) {
      const key = this.#keys.takeNow(group, query.vectors) ?? (await this.#keys.take(group, query.vectors));
      try {
        return await this.#askUnder(key, group, query, layer);
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

  async #askUnder(key: HeldKey, group: number, query: OpenQuery, layer: ClientLayer): Promise<QueryReply> {
    if (this.#open < this.#limits.maxInFlight) this.#open++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const start = performance.now();
    this.line.sent(query.vectors, start);
    let answer: QueryReply | undefined;
    let isDue = true;
    // What the answer will be taken from: when the base model has nothing to compute meanwhile.
    const apply = () => {
      if (isDue && query.state !== "spent") layer.applyKey(query, key.groups[group]);
      isDue = false;
    };
    try {
      const pending = this.#transport.query(group, query.vectors, query.bytes, key.id);
      this.#doWhileAway(apply);
      answer = await pending;
      apply();
      const now = performance.now();
      this.line.answered(query.vectors, now - start, answer.providerMs, now);
      this.#timings.providerMs += answer.providerMs;
      this.#timings.wireMs += Math.max(0, now - start - answer.providerMs);
      return answer;
    } finally {
      isDue = false; // the key may be gone by the time that somebody waits
      if (answer === undefined) this.line.failed();
      const next = this.#waiting.shift();
      if (next) next();
      else this.#open--;
    }
  }

  /** Does what need not be done before the base model goes on: when somebody waits for an answer. */
  #doWhileAway(work: () => void): void {
    if (this.#waits > 0) work();
    else this.#whileAway.push(work);
  }

  /** Gives the answers of queries; until they are there, what has been put off is done. */
  async #wait(answers: readonly Promise<QueryReply>[]): Promise<readonly QueryReply[]> {
    const start = performance.now();
    // All at once: one that fails shall not be done again by the next who waits.
    for (const work of this.#whileAway.splice(0)) work();
    this.#timings.cryptoMs += performance.now() - start;
    this.#waits++;
    try {
      return answers.length === 1 ? [await answers[0]] : await Promise.all(answers);
    } finally {
      this.#waits--;
    }
  }

  /** y of all vectors: u = B·x̂ + H·s − answer, scaled. */
  async #recover(group: number, tokens: number, sent: SentQueries): Promise<Float32Array> {
    const { layer, free } = this.#groups[group];
    const { sizes, queries } = sent;
    try {
      const answers = await this.#wait(sent.answers);
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
        if (vectors === 1) free.push(query.bytes);
        first += vectors;
      }
      this.#timings.cryptoMs += performance.now() - start;
      if (group === this.#groups.length - 1) this.#stock.rest();
      return y;
    } finally {
      this.#close(layer, sent);
    }
  }

  /** delta = B′·y, and the effects of the query before. */
  async #finish(
    { group, tokens, rows }: PendingQuery,
    targets?: readonly Float32Array[],
    added?: AddedEffects,
  ): Promise<readonly Float32Array[]> {
    const { layer, spec, bases } = this.#groups[group];
    const y = await rows();
    const addition = added && { bases: added.bases, y: await added.query.rows() };
    const start = performance.now();
    const out = targets ?? spec.modules.map(({ outFeatures }) => new Float32Array(tokens * outFeatures));
    const deltas = applyBasis(spec.modules, bases, y, tokens, layer.rows, out, addition);
    this.#timings.cryptoMs += performance.now() - start;
    return deltas;
  }

  /** delta of each route: B′_e of its expert times the expert's rows of its vector. */
  async #finishRouted({ group, rows }: PendingQuery, routes: RoutesTaken): Promise<readonly Float32Array[]> {
    const { layer, spec, bases } = this.#groups[group];
    const y = await rows();
    const start = performance.now();
    const out = applyRouted(spec.modules, bases, y, layer.rows, routes);
    this.#timings.cryptoMs += performance.now() - start;
    return [out];
  }

  /** Vectors of each query, so that all queries of a pass are within the provider's limits. */
  #sizesOf(layer: ClientLayer, tokens: number): number[] {
    if (tokens === 1) return [1];
    const { maxMessageBytes, maxVectors, maxInFlight } = this.#limits;
    const fitting = Math.floor((maxMessageBytes - FRAME_OVERHEAD_BYTES) / layer.queryBytes);
    // A query for each thread, if it is worth the way there.
    const makers = Math.min(this.#threads.ready + 1, Math.floor(tokens / LEAST_VECTORS));
    const share = Math.ceil(tokens / Math.max(1, makers));
    const wanted = Math.max(Math.min(QUERY_VECTORS, share), Math.ceil(tokens / maxInFlight));
    const most = Math.max(1, Math.min(wanted, maxVectors, fitting, this.#keys.vectorsPerKey));
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

const isRefusedKey = (error: unknown): error is TacetError =>
  error instanceof TacetError && (error.code === "unknown_key" || error.code === "worn_key");

function refusesAll(cause: TacetError): TacetError {
  return new TacetError(cause.code, `the provider refuses the keys that it makes: ${cause.message}`, {
    hint: "the provider is broken: tell its operator",
    cause,
  });
}

/** Forgets y, now or when it comes. */
function wipe(query: PendingQuery): void {
  query.rows().then(
    (y) => y.fill(0),
    () => {},
  );
}
