/** From a checkpoint to sessions: describes the model, writes its graphs, opens its weights and loads them. */

import type { TensorRuntime } from "../base/platform.ts";
import { type BaseChanges, valuesOf } from "../weights/base-changes.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { readTensorF32 } from "../weights/safetensors.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { attentionLimit } from "./attention-limit.ts";
import { chooseContext, choosePassTokens } from "./context-length.ts";
import type { FittedUse } from "./fit-use.ts";
import { ChangesInUse } from "./graph/changes-in-use.ts";
import type { DecoderConfig } from "./graph/decoder.ts";
import { type LinearPlace, matchGroups, refuseUnusedBiases } from "./graph/linear-place.ts";
import { adaptedPlaces, loraTensors } from "./graph/lora-inputs.ts";
import type { CacheShape } from "./graph/pass-values.ts";
import { SegmentBuilder } from "./graph/segment-builder.ts";
import { layerCaches, linearPlaces, writeSegments } from "./graph/write-decoder.ts";
import { refuseMoreLayers } from "./layer-count.ts";
import { mostStateBytes } from "./layer-states.ts";
import type { BaseOptions } from "./load-options.ts";
import { checkMemory } from "./memory-need.ts";
import { refuseMissingOperators } from "./missing-operators.ts";
import { passDemand } from "./pass-demand.ts";
import { SegmentRunner } from "./run/segment-runner.ts";
import { SharedSource, unitedGroups } from "./run/shared-cuts.ts";
import { type OpenedWeights, ofWholeWeights, quantizedWeights } from "./weights/quantized-weights.ts";
import { originalWeights, type WeightSource } from "./weights/weight-source.ts";

/** What one use of a base model runs on. All runners of a load share its sessions and weights. */
export interface UseRunners {
  readonly adapted: SegmentRunner;
  /** For what the base model reads alone; present where an adapter is activated. */
  readonly base: SegmentRunner | undefined;
  /** For drafts; absent where there are none. */
  readonly drafts: SegmentRunner | undefined;
}

export interface LoadedBase {
  readonly config: DecoderConfig;
  readonly places: readonly LinearPlace[];
  readonly cacheShape: CacheShape;
  /** In the order of the uses. */
  readonly runners: readonly UseRunners[];
}

/** Below this width threads cost more than they gain: one product takes some ten microseconds. */
const SINGLE_THREAD_HIDDEN_SIZE = 512;

/**
 * @param applied changes of the base model that its graphs are written with
 * @throws TacetError as CausalLm.load
 */
export async function loadBase(
  checkpoint: Checkpoint,
  runtime: TensorRuntime,
  uses: readonly FittedUse[],
  options: BaseOptions,
  applied: BaseChanges,
): Promise<LoadedBase> {
  const decoder = describeDecoder(checkpoint);
  const places = linearPlaces(decoder);
  refuseMoreLayers(places, checkpoint);
  await refuseUnusedBiases(places, checkpoint);
  const contextLength = chooseContext(decoder, options.contextLength);
  const { longFrom } = decoder;
  const cacheShape: CacheShape = {
    layers: layerCaches(decoder),
    maxTokens: contextLength,
    ...(runtime.keepsOutputs ? { isOnDevice: true } : {}),
    ...(longFrom !== undefined && longFrom < contextLength ? { longFrom } : {}),
  };
  const groups = unitedGroups(
    places,
    uses.map(({ use }) => use.deltas),
  );
  const sources = uses.map(({ use }) => new SharedSource(groups, use.deltas));
  const groupAt = matchGroups(places, sources[0]);
  const looksAhead = uses.some(({ use }) => use.deltas?.lowRank !== undefined && use.lookAhead !== false);
  const pairable = new Set(looksAhead ? pairablePlaces(groupAt, sources) : []);
  const adapters = uses.flatMap(({ adapter, draftAdapter }) => [adapter, draftAdapter]);
  const loras = adaptedPlaces(
    places,
    adapters.flatMap((adapter) => adapter?.modules ?? []),
  );
  const onDevice = (runtime.device ?? "cpu") !== "cpu";
  const loadRunners = async (source: WeightSource): Promise<SegmentRunner[]> => {
    const changes = new ChangesInUse(applied);
    // What stays on a device cannot be put below each other.
    const sharesProducts = (options.parallel ?? 1) > 1 && groupAt.size > 0 && !onDevice;
    const keepsCache = cacheShape.isOnDevice === true;
    const plan = { groupAt, pairable, loras, changes, onDevice, keepsCache, sharesProducts };
    const segments = writeSegments(new SegmentBuilder(source, plan), decoder, contextLength);
    changes.refuseUnused();
    await refuseMissingOperators(segments, runtime);
    const most = (await attentionLimit(runtime, cacheShape)) ?? Number.POSITIVE_INFINITY;
    const passTokens = Math.min(most, choosePassTokens(decoder, contextLength, options.passTokens));
    return await SegmentRunner.load(
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
        threads: options.threads ?? (decoder.hiddenSize < SINGLE_THREAD_HIDDEN_SIZE ? 1 : undefined),
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
  };
  const runners = await ofWholeWeights(
    () => openWeights(checkpoint, options, runtime, cacheShape),
    loadRunners,
    (those) => Promise.all(those.map((runner) => runner.dispose())),
  );
  const nobody = { deltas: new SharedSource(groups, undefined), loras: loraTensors(loras) };
  // Drafts that are wrong are taken back, one by one: what a layer keeps of all tokens together can't be.
  const canGoBack = mostStateBytes(cacheShape) === 0;
  return {
    config: decoder,
    places,
    cacheShape,
    runners: uses.map(({ use, adapter, draftAdapter }, i): UseRunners => {
      const adapted = runners[i];
      const source = use.deltas ?? adapter;
      const draft = draftAdapter ? { ...nobody, loras: loraTensors(loras, draftAdapter.modules) } : nobody;
      return {
        adapted,
        base: source?.invocationTokens && adapted.withAdaptation(nobody),
        drafts: source && canGoBack ? adapted.withAdaptation(draft, "apart") : undefined,
      };
    }),
  };
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

/** The weights in the format that is asked for, after a look at what they will need. */
async function openWeights(
  checkpoint: Checkpoint,
  { weights = "original", weightCache, onPrepare, onWarning, signal }: BaseOptions,
  runtime: TensorRuntime,
  cacheShape: CacheShape,
): Promise<OpenedWeights> {
  const demand = passDemand(checkpoint, weights);
  await checkMemory(runtime, demand, weights, cacheShape);
  if (!demand.isCopied) return { source: originalWeights(checkpoint), isWhole: async () => true };
  if (!weightCache) throw new TypeError("weights that are not used as they are stored need a weightCache");
  return await quantizedWeights(checkpoint, weights, demand, {
    cache: weightCache,
    signal,
    onPrepare,
    onWarning,
  });
}
