/** A decoder-only language model, run from its Hugging Face folder. */

import { assertInteger } from "../base/assert.ts";
import type { TensorRuntime } from "../base/platform.ts";
import { type BaseChanges, isUnchanged, NO_CHANGES } from "../weights/base-changes.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { DeltaSource } from "./delta-source.ts";
import { type FittedUse, fitUse } from "./fit-use.ts";
import type { DecoderConfig } from "./graph/decoder.ts";
import type { CacheShape } from "./graph/pass-values.ts";
import { lastInvocation } from "./invocation.ts";
import { KvCache } from "./kv-cache.ts";
import { type LoadedBase, loadBase, type UseRunners } from "./load-base.ts";
import {
  type BaseOptions,
  checkLoadOptions,
  checkSharedOptions,
  type DeltaUse,
  type LoadOptions,
} from "./load-options.ts";
import { joinRows } from "./run/prompt-parts.ts";
import type { ForwardTimings } from "./run/segment-runner.ts";

export interface ForwardOptions {
  readonly signal?: AbortSignal;
}

/** How ids are drafted. */
export interface DraftOptions extends ForwardOptions {
  /** Ids that the cache does not hold yet; the draft goes on behind them. */
  readonly ids: readonly number[];
  /** How many to draft; fewer where the context is full. */
  readonly most: number;
  /** The id that follows from logits (vocab), when so many were drafted before. */
  choose(logits: Float32Array, drafted: readonly number[]): number;
}

const NOT_INVOKED =
  "the prompt does not invoke the adapter: its invocation tokens are not in it, and the base model alone answers";
/** Tokens that a new cache has room for. */
const INITIAL_CAPACITY = 128;

export class CausalLm {
  readonly config: DecoderConfig;
  /** As `inputGroupsOf` (config-facts.ts) gives them. */
  readonly inputGroups: readonly (readonly string[])[];
  /** Most tokens of a context. */
  readonly contextLength: number;
  /** Who adds to it, outside the graph. */
  readonly deltas: DeltaSource | undefined;
  /** Of an activated LoRA. */
  readonly invocationTokens: readonly number[] | undefined;
  readonly #cacheShape: CacheShape;
  readonly #runners: UseRunners;
  /** Where caches are adapted from, until an invocation is found. */
  readonly #adaptedFrom: number;
  readonly #onWarning: ((message: string) => void) | undefined;
  readonly #busy = new WeakSet<KvCache>();
  #disposing: Promise<void> | undefined;

  private constructor(
    { config, places, cacheShape }: LoadedBase,
    runners: UseRunners,
    { use, adapter }: FittedUse,
    onWarning: ((message: string) => void) | undefined,
  ) {
    this.config = config;
    this.inputGroups = places.map(({ modules }) => modules);
    this.contextLength = cacheShape.maxTokens;
    this.deltas = use.deltas;
    this.invocationTokens = (use.deltas ?? adapter)?.invocationTokens;
    this.#cacheShape = cacheShape;
    this.#runners = runners;
    const isAdapted = use.deltas !== undefined || adapter !== undefined;
    this.#adaptedFrom = isAdapted && this.invocationTokens === undefined ? 0 : Number.POSITIVE_INFINITY;
    this.#onWarning = onWarning;
  }

  /**
   * @throws TacetError bad_argument for options that do not exist; unsupported_model, bad_checkpoint;
   *   unsupported_adapter if the DeltaSource's groups are not this model's; out_of_memory if it will not fit; io_failed
   *   if quantized weights cannot be kept; aborted
   */
  static async load(
    checkpoint: Checkpoint,
    runtime: TensorRuntime,
    options: LoadOptions = {},
  ): Promise<CausalLm> {
    checkLoadOptions(options);
    const use = await fitUse(options, checkpoint);
    const [model] = await CausalLm.#load(checkpoint, runtime, [use], options, use.changes);
    return model;
  }

  /**
   * One base model in memory for several that add to it: a model for each use, in their order, on the same sessions and
   * weights. It is cut wherever one of them adds, so each has the cuts of all, and results as if it were alone. The
   * memory is free when the last of them is disposed. Adapters that are here share its one graph, and their matrices go
   * in with each run. What changes the base model itself (DeltaSource.changes; of an adapter its DoRA, biases, saved
   * modules and rows) shares it with nobody: it is there once more for each of them.
   *
   * @throws as {@link load}; RangeError without a use
   */
  static async loadShared(
    checkpoint: Checkpoint,
    runtime: TensorRuntime,
    uses: readonly DeltaUse[],
    options: BaseOptions = {},
  ): Promise<CausalLm[]> {
    checkSharedOptions(uses, options);
    if (uses.length === 0) throw new RangeError("a shared model needs a use");
    const fitted: FittedUse[] = [];
    for (const use of uses) fitted.push(await fitUse(use, checkpoint));
    const sharing = fitted.filter(({ changes }) => isUnchanged(changes));
    const models = new Map<FittedUse, CausalLm>();
    const load = async (those: readonly FittedUse[], changes: BaseChanges): Promise<void> => {
      const loaded = await CausalLm.#load(checkpoint, runtime, those, options, changes);
      for (const [i, use] of those.entries()) models.set(use, loaded[i]);
    };
    try {
      if (sharing.length > 0) await load(sharing, NO_CHANGES);
      for (const use of fitted) if (!sharing.includes(use)) await load([use], use.changes);
    } catch (error) {
      await Promise.all([...models.values()].map((model) => model.dispose()));
      throw error;
    }
    return fitted.map((use) => models.get(use)!);
  }

  static async #load(
    checkpoint: Checkpoint,
    runtime: TensorRuntime,
    uses: readonly FittedUse[],
    options: BaseOptions,
    applied: BaseChanges,
  ): Promise<CausalLm[]> {
    const base = await loadBase(checkpoint, runtime, uses, options, applied);
    return uses.map((use, i) => new CausalLm(base, base.runners[i], use, options.onWarning));
  }

  /** Whether both are one base model in memory ({@link loadShared}): what it reads alone is the same for both. */
  isOnBaseOf(other: CausalLm): boolean {
    return this.#runners.adapted.sharesSessions(other.#runners.adapted);
  }

  /** Sums since the model was loaded; take differences. */
  get timings(): Readonly<ForwardTimings> {
    return { ...this.#runners.adapted.timings };
  }

  /**
   * Tokens that one pass may guess behind a context: none that would make a long one of it (`longFrom`), as its tokens are
   * then turned otherwise, those before them too.
   */
  roomBehind(context: number): number {
    const { longFrom = Number.POSITIVE_INFINITY } = this.#cacheShape;
    return (context <= longFrom ? Math.min(longFrom, this.contextLength) : this.contextLength) - context;
  }

  /** Milliseconds that a pass over so many tokens would take now, as far as is known of line and model. */
  expectedMs(tokens: number): number {
    return this.#runners.adapted.expectedMs(tokens);
  }

  /** An empty cache; it grows when it must. */
  newCache(capacity = Math.min(INITIAL_CAPACITY, this.contextLength)): KvCache {
    return new KvCache(this.#cacheShape, capacity, this.#adaptedFrom);
  }

  /**
   * From which token of a context on the adapter acts on it, if the prompt is `promptIds`: 0, the place of the
   * invocation, or Infinity.
   */
  adaptedFrom(promptIds: readonly number[]): number {
    return this.invocationTokens ? lastInvocation(promptIds, this.invocationTokens) : this.#adaptedFrom;
  }

  /**
   * Settles where the adapter acts on the context that a cache is for; where it is activated and nothing in the prompt
   * does so, the user is told.
   *
   * @param token as {@link adaptedFrom} gives it
   * @throws RangeError if the cache holds tokens that were read otherwise
   */
  adaptFrom(token: number, cache: KvCache): void {
    if (this.invocationTokens === undefined) return;
    cache.adaptFrom(token);
    if (token === Number.POSITIVE_INFINITY) this.#onWarning?.(NOT_INVOKED);
  }

  /**
   * Reads ids behind what the cache holds; gives the logits (vocab) that follow the last one. If it throws, the
   * cache is as it was before.
   *
   * @throws TacetError context_overflow if the context gets too long, aborted; whatever a DeltaSource fails with
   */
  async forward(ids: readonly number[], cache: KvCache, options?: ForwardOptions): Promise<Float32Array> {
    return await this.#forward(ids, cache, -1, options);
  }

  /** As {@link forward}, with the logits that follow each of the ids: (ids.length, vocab) row-major. */
  async forwardAll(ids: readonly number[], cache: KvCache, options?: ForwardOptions): Promise<Float32Array> {
    return await this.#forward(ids, cache, 0, options);
  }

  /**
   * Whether it can {@link draft}: something is added to it, and what its caches hold of a token can be taken back.
   */
  get canDraft(): boolean {
    return this.#runners.drafts !== undefined;
  }

  /**
   * Ids that the base model says instead, alone or with what it drafts with (`draftAdapter`), behind what the cache holds
   * and some ids more: nobody is asked. It goes on from keys and values that were read with the adapter, so no text is
   * read twice, and it agrees more often than if it had read all by itself. The cache is then as before.
   *
   * @throws TypeError where it cannot; TacetError aborted; what `choose` throws
   */
  async draft(cache: KvCache, { ids, most, choose, signal }: DraftOptions): Promise<number[]> {
    const { drafts } = this.#runners;
    if (drafts === undefined) throw new TypeError("the model has nothing to draft with");
    this.#claim(cache);
    const { length } = cache;
    const drafted: number[] = [];
    try {
      let next = ids;
      const isLong = this.#isLong(length + ids.length);
      if (length > 0 && isLong !== cache.isLong) return [];
      cache.turnAs({ isLong });
      const room = this.roomBehind(length + ids.length);
      while (drafted.length < Math.min(most, room + 1)) {
        cache.reserve(cache.length + next.length);
        const logits = await drafts.run({ ids: next, firstRow: -1 }, cache, signal);
        cache.commit(next);
        const id = choose(logits, drafted);
        drafted.push(id);
        next = [id];
      }
      return drafted;
    } finally {
      cache.truncate(length);
      this.#busy.delete(cache);
    }
  }

  /** Frees the sessions. A second call changes nothing. */
  dispose(): Promise<void> {
    const { adapted, base, drafts } = this.#runners;
    const runners = [adapted, base, drafts];
    return (this.#disposing ??= Promise.all(runners.map((runner) => runner?.dispose())).then(() => {}));
  }

  async #forward(
    ids: readonly number[],
    cache: KvCache,
    firstRow: number,
    options: ForwardOptions = {},
  ): Promise<Float32Array> {
    if (ids.length === 0) throw new RangeError("a forward pass needs at least one id");
    for (const id of ids) assertInteger(id, "token id", 0, this.config.vocabSize - 1);
    if (this.#runners.base === undefined && cache.adaptedFrom !== this.#adaptedFrom) {
      throw new TypeError(
        "the cache is another model's: what it holds was read with another adapter, or without one",
      );
    }
    this.#claim(cache);
    try {
      cache.checkContext(cache.length + ids.length);
      const isLong = this.#isLong(cache.length + ids.length);
      if (cache.length > 0 && isLong !== cache.isLong) await this.#readAgain(cache, isLong, options);
      cache.turnAs({ isLong });
      return await this.#read(ids, cache, firstRow, options);
    } finally {
      this.#busy.delete(cache);
    }
  }

  #isLong(context: number): boolean {
    return context > (this.#cacheShape.longFrom ?? Number.POSITIVE_INFINITY);
  }

  /** All that a cache holds, turned otherwise: what comes out of earlier layers is another then, so it is read again. */
  async #readAgain(cache: KvCache, isLong: boolean, options: ForwardOptions): Promise<void> {
    this.#onWarning?.(
      `the context is ${isLong ? "more" : "no more"} than ${this.#cacheShape.longFrom} tokens now, and the model turns all tokens ` +
        `of a ${isLong ? "long" : "short"} one otherwise: ${cache.length} are read again`,
    );
    const again = this.newCache(cache.capacity);
    if (this.invocationTokens !== undefined) again.adaptFrom(cache.adaptedFrom);
    again.turnAs({ isLong });
    await this.#read(cache.ids, again, -1, options);
    cache.takeOver(again);
  }

  async #read(
    ids: readonly number[],
    cache: KvCache,
    firstRow: number,
    options: ForwardOptions,
  ): Promise<Float32Array> {
    const { adapted, base } = this.#runners;
    const before = cache.length;
    try {
      cache.reserve(before + ids.length);
      // To come back to if a later pass of these fails, or the prompt is another one next time.
      if (ids.length > 1) cache.mark();
      const logits: Float32Array[] = [];
      for (let at = 0; at < ids.length; ) {
        const untilAdapted = cache.adaptedFrom - cache.length;
        const runner = untilAdapted > 0 ? (base ?? adapted) : adapted;
        const part = ids.slice(at, runner === base ? at + untilAdapted : ids.length);
        logits.push(await runner.run({ ids: part, firstRow }, cache, options.signal));
        cache.commit(part);
        at += part.length;
      }
      return firstRow < 0 ? logits[logits.length - 1] : joinRows(logits);
    } catch (error) {
      cache.truncate(Math.min(before, cache.length));
      throw error;
    }
  }

  /** To be given back by `#busy.delete`. */
  #claim(cache: KvCache): void {
    if (this.#disposing) throw new TypeError("the model has been disposed");
    if (this.#busy.has(cache)) throw new TypeError("the cache is in use by another forward pass");
    this.#busy.add(cache);
  }
}
