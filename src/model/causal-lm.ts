/** A decoder-only language model, run from its Hugging Face folder. */

import { assertInteger } from "../base/assert.ts";
import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { FileCache, TensorRuntime } from "../base/platform.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { LoraAdapter } from "../weights/lora-adapter.ts";
import { type BaseChanges, isUnchanged, NO_CHANGES, valuesOf } from "../weights/base-changes.ts";
import { readTensorF32 } from "../weights/safetensors.ts";
import { type FittedAdapter, fitAdapter } from "./adapter/fit-adapter.ts";
import { ChangesInUse } from "./graph/changes-in-use.ts";
import { describeDecoder } from "./architectures/registry.ts";
import type { DeltaSource } from "./delta-source.ts";
import type { DecoderConfig } from "./graph/decoder.ts";
import { type LinearPlace, matchGroups, refuseUnusedBiases } from "./graph/linear-place.ts";
import { adaptedPlaces, loraTensors } from "./graph/lora-inputs.ts";
import type { CacheShape } from "./graph/pass-values.ts";
import { SegmentBuilder } from "./graph/segment-builder.ts";
import { layerCaches, linearPlaces, writeSegments } from "./graph/write-decoder.ts";
import { lastInvocation } from "./invocation.ts";
import { KvCache } from "./kv-cache.ts";
import { mostStateBytes } from "./layer-states.ts";
import { refuseMoreLayers } from "./layer-count.ts";
import { checkMemory } from "./memory-need.ts";
import { refuseMissingOperators } from "./missing-operators.ts";
import { passDemand } from "./pass-demand.ts";
import { joinRows } from "./run/prompt-parts.ts";
import { type ForwardTimings, SegmentRunner } from "./run/segment-runner.ts";
import { SharedSource, unitedGroups } from "./run/shared-cuts.ts";
import { type PrepareProgress, quantizedWeights } from "./weights/quantized-weights.ts";
import { originalWeights, type WeightFormat, type WeightSource } from "./weights/weight-source.ts";

/** Who adds to a base model's linear layers: somebody who is asked, an adapter that is here, or nobody. */
export interface DeltaUse {
  /** The model is cut into segments at its groups. */
  readonly deltas?: DeltaSource | undefined;
  /** Applied inside the graph, without a cut. */
  readonly adapter?: LoraAdapter | undefined;
  /**
   * Ask adapted layers that follow each other together (default): one round trip instead of two for each token. It
   * costs a few queries once for each source, at the first decode step (run/look-ahead.ts).
   */
  readonly lookAhead?: boolean | undefined;
  /** Decode steps before those queries are asked: short answers then do without. Default: 0. */
  readonly lookAheadAfter?: number | undefined;
  /** What the base model drafts with ({@link CausalLm.draft}): something public, of LoRA matrices alone. Default: nothing. */
  readonly draftAdapter?: LoraAdapter | undefined;
}

/** How a base model is held in memory. */
export interface BaseOptions {
  /** Threads that one operator may use. Default: 1 for small models, else what the runtime thinks best. */
  readonly threads?: number | undefined;
  /**
   * How many passes are expected at the same time (conversations). With more than one, a model that is cut is cut beside
   * attention too, and products with the same weights are made for several passes at once, on the processor. That costs
   * a pass by itself some runs of a session more. Default: 1.
   */
  readonly parallel?: number | undefined;
  /**
   * Most tokens of a context. Default: what the model was trained for, at least 2048 and at most 8192; never more
   * than it has positions.
   */
  readonly contextLength?: number | undefined;
  /**
   * Most tokens that are read at a time; a longer prompt takes several passes, so that activations and attention scores
   * do not grow with it. Default: 512, fewer for very long contexts.
   */
  readonly passTokens?: number | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
  /** How the weights are held. Default: as in the checkpoint. The others need a weightCache. */
  readonly weights?: WeightFormat | undefined;
  /** Where quantized weights are kept from one load to the next. */
  readonly weightCache?: FileCache | undefined;
  /** Quantized weights are being made, or the ones that were kept are being checked. */
  readonly onPrepare?: ((progress: PrepareProgress) => void) | undefined;
  /** Something the user should know, and that has been repaired. */
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadOptions extends BaseOptions, DeltaUse {}

const BASE: OptionTypes<BaseOptions> = {
  threads: "number",
  parallel: "number",
  contextLength: "number",
  passTokens: "number",
  onProgress: "function",
  weights: "string",
  weightCache: "object",
  onPrepare: "function",
  onWarning: "function",
  signal: "object",
};
const USE: OptionTypes<DeltaUse> = {
  deltas: "object",
  adapter: "object",
  lookAhead: "boolean",
  lookAheadAfter: "number",
  draftAdapter: "object",
};
const LOAD: OptionTypes<LoadOptions> = { ...BASE, ...USE };

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
/** Below this width threads cost more than they gain: one product takes some ten microseconds. */
const SINGLE_THREAD_HIDDEN_SIZE = 512;
const DEFAULT_CONTEXT = { least: 2048, most: 8192 };
const PASS_TOKENS = 512;
/** The attention operator makes heads·tokens·context scores of 4 bytes in a pass: at most this many bytes. */
const SCORE_BYTES = 256e6;
/** Tokens that a new cache has room for. */
const INITIAL_CAPACITY = 128;

/**
 * For each place in forward order: the full names of the linear modules that share an input.
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function inputGroupsOf(checkpoint: Checkpoint): readonly (readonly string[])[] {
  return linearPlaces(describeDecoder(checkpoint)).map(({ modules }) => modules);
}

/**
 * Whether a module's weight is stored (in, out) instead of (out, in), by its full name.
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function storedInOut(checkpoint: Checkpoint): (module: string) => boolean {
  const places = linearPlaces(describeDecoder(checkpoint));
  const modules = new Set(places.filter((place) => place.storedInOut).flatMap((place) => place.modules));
  return (module) => modules.has(module);
}

/**
 * Rows of the base model's embeddings: every id is below it.
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function vocabSizeOf(checkpoint: Checkpoint): number {
  return describeDecoder(checkpoint).vocabSize;
}

export class CausalLm {
  readonly config: DecoderConfig;
  /** As {@link inputGroupsOf} gives them. */
  readonly inputGroups: readonly (readonly string[])[];
  /** Most tokens of a context. */
  readonly contextLength: number;
  /** Who adds to it, outside the graph. */
  readonly deltas: DeltaSource | undefined;
  /** Of an activated LoRA. */
  readonly invocationTokens: readonly number[] | undefined;
  readonly #cacheShape: Omit<CacheShape, "maxTokens">;
  readonly #runner: SegmentRunner;
  /** On the same sessions, for what the base model reads alone; present where an adapter is activated. */
  readonly #baseRunner: SegmentRunner | undefined;
  /** On the same sessions, for drafts; absent where there are none. */
  readonly #draftRunner: SegmentRunner | undefined;
  /** Where caches are adapted from, until an invocation is found. */
  readonly #adaptedFrom: number;
  readonly #onWarning: ((message: string) => void) | undefined;
  readonly #busy = new WeakSet<KvCache>();
  #disposing: Promise<void> | undefined;

  private constructor(
    config: DecoderConfig,
    places: readonly LinearPlace[],
    contextLength: number,
    cacheShape: Omit<CacheShape, "maxTokens">,
    [runner, baseRunner, draftRunner]: readonly [
      SegmentRunner,
      SegmentRunner | undefined,
      SegmentRunner | undefined,
    ],
    { use, adapter }: FittedUse,
    onWarning: ((message: string) => void) | undefined,
  ) {
    this.config = config;
    this.inputGroups = places.map(({ modules }) => modules);
    this.contextLength = contextLength;
    this.deltas = use.deltas;
    this.invocationTokens = (use.deltas ?? adapter)?.invocationTokens;
    this.#cacheShape = cacheShape;
    this.#runner = runner;
    this.#baseRunner = baseRunner;
    this.#draftRunner = draftRunner;
    const isAdapted = use.deltas !== undefined || adapter !== undefined;
    this.#adaptedFrom = isAdapted && this.invocationTokens === undefined ? 0 : Number.POSITIVE_INFINITY;
    this.#onWarning = onWarning;
  }

  /**
   * @throws TacetError bad_argument for options that do not exist; unsupported_model, bad_checkpoint; unsupported_adapter if the DeltaSource's groups are not
   *   this model's; out_of_memory if it will not fit; io_failed if quantized weights cannot be kept; aborted
   */
  static async load(
    checkpoint: Checkpoint,
    runtime: TensorRuntime,
    options: LoadOptions = {},
  ): Promise<CausalLm> {
    checkOptions(options, LOAD, { of: "CausalLm.load", known: { onLoadProgress: "onProgress" } });
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
    checkOptions(options, BASE, { of: "CausalLm.loadShared", known: { onLoadProgress: "onProgress" } });
    for (const use of uses) checkOptions(use, USE, { of: "a use of CausalLm.loadShared" });
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
    const decoder = describeDecoder(checkpoint);
    const places = linearPlaces(decoder);
    const cacheShape = { layers: layerCaches(decoder) };
    refuseMoreLayers(places, checkpoint);
    await refuseUnusedBiases(places, checkpoint);
    const contextLength = chooseContext(decoder, options.contextLength);
    const { threads } = options;
    const passTokens = choosePassTokens(decoder, contextLength, options.passTokens);
    const groups = unitedGroups(
      places,
      uses.map(({ use }) => use.deltas),
    );
    const sources = uses.map(({ use }) => new SharedSource(groups, use.deltas));
    const groupAt = matchGroups(places, sources[0]);
    const source = await openWeights(checkpoint, options, {
      runtime,
      cache: { ...cacheShape, maxTokens: contextLength },
    });
    const looksAhead = uses.some(({ use }) => use.deltas?.lowRank !== undefined && use.lookAhead !== false);
    const pairable = new Set(looksAhead ? pairablePlaces(groupAt, sources) : []);
    const adapters = uses.flatMap(({ adapter, draftAdapter }) => [adapter, draftAdapter]);
    const loras = adaptedPlaces(
      places,
      adapters.flatMap((adapter) => adapter?.modules ?? []),
    );
    const changes = new ChangesInUse(applied);
    const onDevice = (runtime.device ?? "cpu") !== "cpu";
    // What stays on a device cannot be put below each other.
    const sharesProducts = (options.parallel ?? 1) > 1 && groupAt.size > 0 && !onDevice;
    const plan = { groupAt, pairable, loras, changes, onDevice, sharesProducts };
    const segments = writeSegments(new SegmentBuilder(source, plan), decoder, contextLength);
    changes.refuseUnused();
    await refuseMissingOperators(segments, runtime);
    const runners = await SegmentRunner.load(
      segments,
      runtime,
      {
        places: [...groupAt.keys()],
        layers: decoder.layers,
        passTokens,
        async readWeight(name, shape) {
          const changed = changes.tensor(name, shape);
          if (changed) return valuesOf(changed);
          const { tree, info } = source.tensor(name, shape);
          return await readTensorF32(tree, info, "bad_checkpoint");
        },
        threads: threads ?? (decoder.hiddenSize < SINGLE_THREAD_HIDDEN_SIZE ? 1 : undefined),
        onProgress: options.onProgress,
      },
      uses.map(({ use: { lookAhead = true, lookAheadAfter = 0 }, adapter }, i) => ({
        deltas: sources[i],
        loras: loraTensors(loras, adapter?.modules),
        lookAheadAfter,
        canPair: (first, second) =>
          lookAhead && [first, second].every((group) => sources[i].adaptsAll(group)),
      })),
    );
    const nobody = { deltas: new SharedSource(groups, undefined), loras: loraTensors(loras) };
    // Drafts that are wrong are taken back, one by one: what a layer keeps of all tokens together can't be.
    const canGoBack = mostStateBytes(cacheShape) === 0;
    return uses.map((fitted, i) => {
      const { use, adapter, draftAdapter } = fitted;
      const source = use.deltas ?? adapter;
      const base = source?.invocationTokens && runners[i].withAdaptation(nobody);
      const drafts = draftAdapter ? { ...nobody, loras: loraTensors(loras, draftAdapter.modules) } : nobody;
      const drafting = source && canGoBack ? runners[i].withAdaptation(drafts, "apart") : undefined;
      const all = [runners[i], base, drafting] as const;
      return new CausalLm(decoder, places, contextLength, cacheShape, all, fitted, options.onWarning);
    });
  }

  /** Whether both are one base model in memory ({@link loadShared}): what it reads alone is the same for both. */
  isOnBaseOf(other: CausalLm): boolean {
    return this.#runner.sharesSessions(other.#runner);
  }

  /** Sums since the model was loaded; take differences. */
  get timings(): Readonly<ForwardTimings> {
    return { ...this.#runner.timings };
  }

  /** An empty cache; it grows when it must. */
  newCache(capacity = Math.min(INITIAL_CAPACITY, this.contextLength)): KvCache {
    const shape = { ...this.#cacheShape, maxTokens: this.contextLength };
    return new KvCache(shape, capacity, this.#adaptedFrom);
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
    return this.#draftRunner !== undefined;
  }

  /**
   * Ids that the base model says instead, alone or with what it drafts with (`draftAdapter`), behind what the cache holds
   * and some ids more: nobody is asked. It goes on from keys and values that were read with the adapter, so no text is
   * read twice, and it agrees more often than if it had read all by itself. The cache is then as before.
   *
   * @throws TypeError where it cannot; TacetError aborted; what `choose` throws
   */
  async draft(cache: KvCache, { ids, most, choose, signal }: DraftOptions): Promise<number[]> {
    if (this.#draftRunner === undefined) throw new TypeError("the model has nothing to draft with");
    this.#claim(cache);
    const { length } = cache;
    const drafted: number[] = [];
    try {
      let next = ids;
      while (drafted.length < most && cache.length + next.length <= this.contextLength) {
        cache.reserve(cache.length + next.length);
        const logits = await this.#draftRunner.run({ ids: next, firstRow: -1 }, cache, signal);
        cache.commit(next.length);
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
    const runners = [this.#runner, this.#baseRunner, this.#draftRunner];
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
    if (this.#baseRunner === undefined && cache.adaptedFrom !== this.#adaptedFrom) {
      throw new TypeError(
        "the cache is another model's: what it holds was read with another adapter, or without one",
      );
    }
    this.#claim(cache);
    const before = cache.length;
    try {
      cache.reserve(before + ids.length);
      // To come back to if a later pass of these fails, or the prompt is another one next time.
      if (ids.length > 1) cache.mark();
      const logits: Float32Array[] = [];
      for (let at = 0; at < ids.length; ) {
        const untilAdapted = cache.adaptedFrom - cache.length;
        const isBase = untilAdapted > 0 && this.#baseRunner !== undefined;
        const part = ids.slice(at, isBase ? at + untilAdapted : ids.length);
        const runner = isBase ? this.#baseRunner : this.#runner;
        logits.push(await runner.run({ ids: part, firstRow }, cache, options.signal));
        cache.commit(part.length);
        at += part.length;
      }
      return firstRow < 0 ? logits[logits.length - 1] : joinRows(logits);
    } catch (error) {
      cache.truncate(Math.min(before, cache.length));
      throw error;
    } finally {
      this.#busy.delete(cache);
    }
  }

  /** To be given back by `#busy.delete`. */
  #claim(cache: KvCache): void {
    if (this.#disposing) throw new TypeError("the model has been disposed");
    if (this.#busy.has(cache)) throw new TypeError("the cache is in use by another forward pass");
    this.#busy.add(cache);
  }
}

/** A use whose adapters are found to be this base model's. */
interface FittedUse {
  readonly use: DeltaUse;
  readonly adapter: FittedAdapter | undefined;
  readonly draftAdapter: FittedAdapter | undefined;
  /** What the base model is written with. */
  readonly changes: BaseChanges;
}

/**
 * @throws TypeError for an adapter beside a DeltaSource; TacetError as fitAdapter, unsupported_adapter for a draft adapter
 *   that changes more than linear modules
 */
async function fitUse(use: DeltaUse, checkpoint: Checkpoint): Promise<FittedUse> {
  const { deltas } = use;
  if (use.adapter && deltas)
    throw new TypeError("an adapter inside the graph and a DeltaSource can't be used together");
  const adapter = use.adapter && (await fitAdapter(use.adapter, checkpoint));
  const draftAdapter = use.draftAdapter && (await fitAdapter(use.draftAdapter, checkpoint));
  // They would be the other adapter's too: it runs on the same graph.
  if (draftAdapter && !isUnchanged(draftAdapter.changes))
    throw new TacetError("unsupported_adapter", "the draft adapter changes more than linear modules", {
      hint: "draft with an adapter that has LoRA matrices alone, or without one",
    });
  return { use, adapter, draftAdapter, changes: (adapter ?? deltas)?.changes ?? NO_CHANGES };
}

/**
 * Places that a source whose directions are known adapts in all their modules: what a first one's answer does to a
 * module that is not adapted would be nobody's to add. Other sources take the same cuts one after the other.
 */
function pairablePlaces(
  groupAt: ReadonlyMap<LinearPlace, number>,
  sources: readonly SharedSource[],
): LinearPlace[] {
  return [...groupAt].flatMap(([place, group]) => {
    const isWhole = (source: SharedSource) =>
      source.lowRank !== undefined &&
      source.groups[group].modules.length === place.modules.length &&
      source.adaptsAll(group);
    return sources.some(isWhole) ? [place] : [];
  });
}

/** As many tokens as keep the scores of a full context within their limit. */
function choosePassTokens({ heads }: DecoderConfig, contextLength: number, asked?: number): number {
  if (asked !== undefined) return assertInteger(asked, "passTokens", 1, 2 ** 24);
  const fitting = Math.floor(SCORE_BYTES / (4 * heads * contextLength));
  return Math.max(16, Math.min(PASS_TOKENS, fitting));
}

/** The weights in the format that is asked for, after a look at what they will need. */
async function openWeights(
  checkpoint: Checkpoint,
  { weights = "original", weightCache, onPrepare, onWarning, signal }: LoadOptions,
  context: {
    readonly runtime: TensorRuntime;
    readonly cache: CacheShape;
  },
): Promise<WeightSource> {
  const demand = passDemand(checkpoint, weights);
  await checkMemory(context.runtime, demand, weights, context.cache);
  if (!demand.isCopied) return originalWeights(checkpoint);
  if (!weightCache) throw new TypeError("weights that are not used as they are stored need a weightCache");
  return await quantizedWeights(checkpoint, weights, demand, {
    cache: weightCache,
    signal,
    onPrepare,
    onWarning,
  });
}

/** @throws TacetError bad_argument for a longer context than the model runs */
function chooseContext({ trainedContext, contextLimit }: DecoderConfig, asked?: number): number {
  const limit = contextLimit?.tokens ?? 2 ** 24;
  if (asked === undefined) {
    const { least, most } = DEFAULT_CONTEXT;
    return Math.min(limit, most, Math.max(least, trainedContext));
  }
  assertInteger(asked, "contextLength", 1, 2 ** 24);
  if (asked <= limit) return asked;
  throw new TacetError(
    "bad_argument",
    `the model runs up to ${limit} tokens, a context of ${asked} was asked for: ${contextLimit!.reason}`,
    { hint: `ask for a context of at most ${limit}` },
  );
}
