/**
 * An adapter that stays at its provider, as the model's {@link DeltaSource}: for each group, x is encrypted, the
 * provider decrypts what the client has computed on the encrypted weights of a key, and the client turns what comes back
 * into deltas, delta = B′·y.
 *
 * Masks are made in idle time (mask-stock.ts), keys fetched ahead (key-ring.ts). What is sent, and when, depends on
 * shapes and counts only: never on a decrypted value.
 */
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
import { ClientLayer } from "../pll/client-layer.ts";
import { PublicBasis } from "../pll/public-basis.ts";
import { Kernels } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource } from "../rlwe/mask-source.ts";
import { PublicElements } from "../rlwe/public-elements.ts";
import type { BaseChanges } from "../weights/base-changes.ts";
import type { Limits } from "../wire/limits.ts";
import { applyBasis, applyRouted } from "./apply-basis.ts";
import { AskUnderKeys } from "./ask-under-keys.ts";
import { type EncryptionStatus, EncryptionThreads } from "./encryption/encryption-threads.ts";
import { GroupQueries, type PendingQuery, type SharedParts } from "./group-queries.ts";
import { KeyRing } from "./key-ring.ts";
import { LineEstimate } from "./line-estimate.ts";
import { clientStock, MaskStock } from "./mask-stock.ts";
import { askOneHots } from "./one-hots.ts";
import { PairEffects } from "./pair-effects.ts";
import type { QueryTransport } from "./query-transport.ts";
import { WhileAway } from "./while-away.ts";

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
  readonly queries: GroupQueries;
}

export class RemoteAdapter implements DeltaSource, LowRankSource {
  readonly groups: readonly AdaptedGroup[];
  readonly invocationTokens: readonly number[] | undefined;
  readonly lowRank: LowRankSource = this;
  readonly changes: BaseChanges;
  readonly line: LineEstimate;
  readonly #spent = { cryptoMs: 0, sendMs: 0 };
  readonly #groups: readonly Group[];
  readonly #transport: QueryTransport;
  readonly #effects: PairEffects;
  readonly #masks: MaskSource;
  readonly #stock: MaskStock;
  readonly #threads: EncryptionThreads;
  readonly #keys: KeyRing;
  readonly #asking: AskUnderKeys;
  readonly #away = new WhileAway();

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
    const { manifest } = bundle;
    const { parameters } = manifest;
    this.changes = bundle.changes;
    const kernels = Kernels.load();
    this.#effects = new PairEffects(kernels);
    const pool = new BufferPool(kernels);
    const bundleId = bundleIdBytes(manifest);
    const elements = new PublicElements(kernels, pool, bundleId);
    this.#masks = new MaskSource(kernels, pool, parameters, elements.element(0, false), systemRandom);
    const layers = manifest.groups.map(
      (spec, g) =>
        new ClientLayer(kernels, pool, this.#masks, elements, {
          parameters,
          rows: groupRows(spec),
          inFeatures: spec.inFeatures,
          scales: bundle.groups[g].scales,
        }),
    );
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
    this.#asking = new AskUnderKeys(transport, limits, this.#keys, { line: this.line, away: this.#away });
    const parts: SharedParts = {
      asking: this.#asking,
      stock: this.#stock,
      threads: this.#threads,
      away: this.#away,
      limits,
      vectorsPerKey: this.#keys.vectorsPerKey,
      spent: this.#spent,
    };
    this.#groups = manifest.groups.map((spec, g) => ({
      spec,
      layer: layers[g],
      bases: bundle.groups[g].bases.map((basis, i) => {
        const { outFeatures, rows } = spec.modules[i];
        return PublicBasis.ofRows(kernels, basis, outFeatures, rows);
      }),
      queries: new GroupQueries(g, layers[g], parts, g === layers.length - 1),
    }));
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

  #send({ group, x }: GroupInput, tokens: number): PendingQuery {
    if (group === 0 && tokens > 1) this.#keys.expect(tokens);
    return this.#groups[group].queries.send(x, tokens);
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
    const { cryptoMs, sendMs } = this.#spent;
    const { wireMs, providerMs } = this.#asking;
    return { cryptoMs: cryptoMs + this.#away.ms, threadMs: this.#threads.ms, sendMs, wireMs, providerMs };
  }

  /** Where queries of prompts are encrypted. */
  get encryption(): EncryptionStatus {
    return this.#threads.status;
  }

  /** Forgets all key material; the adapter cannot be used any more. */
  dispose(): void {
    this.#away.clear();
    this.#threads.dispose();
    this.#keys.dispose();
    this.#stock.dispose();
    this.#masks.wipe();
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
    this.#spent.cryptoMs += performance.now() - start;
    return deltas;
  }

  /** delta of each route: B′_e of its expert times the expert's rows of its vector. */
  async #finishRouted({ group, rows }: PendingQuery, routes: RoutesTaken): Promise<readonly Float32Array[]> {
    const { layer, spec, bases } = this.#groups[group];
    const y = await rows();
    const start = performance.now();
    const out = applyRouted(spec.modules, bases, y, layer.rows, routes);
    this.#spent.cryptoMs += performance.now() - start;
    return [out];
  }
}

/** Forgets y, now or when it comes. */
function wipe(query: PendingQuery): void {
  query.rows().then(
    (y) => y.fill(0),
    () => {},
  );
}
