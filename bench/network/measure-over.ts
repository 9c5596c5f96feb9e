// One connection to a provider, in one way of asking: a prompt, then some tokens, with what went over the line.
import { join } from "node:path";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { AdaptedGroup, DeltaSource, LowRankSource, PendingDelta } from "../../src/model/delta-source.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import { nodeFileCache, nodePlatform } from "../../src/platform/node.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { benchCache } from "../large/seeded-model.ts";

export interface NetworkModel {
  readonly checkpoint: Checkpoint;
  readonly baseFingerprint: Uint8Array;
  readonly weights: WeightFormat;
}

/** Which measures are on. */
export interface Mode {
  readonly name: string;
  /** Groups that follow each other are asked together. */
  readonly lookAhead: boolean;
  /** The model knows what the line costs, and asks accordingly: prompts in parts, look-ahead for several tokens. */
  readonly knowsLine: boolean;
}

export const MODES: readonly Mode[] = [
  { name: "one after the other", lookAhead: false, knowsLine: false },
  { name: "look-ahead", lookAhead: true, knowsLine: false },
  { name: "look-ahead, wavefront", lookAhead: true, knowsLine: true },
];

/** Tokens to read and to generate. */
export interface Asked {
  readonly prompt: number;
  readonly tokens: number;
}

/** What one kind of pass cost. */
export interface Cost {
  /** Milliseconds: the first prompt alone, the median of tokens. */
  readonly ms: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly vectors: number;
  readonly queries: number;
  /** Waits for the provider that follow each other. */
  readonly exchanges: number;
}

export interface Costs {
  /** The first prompt of a connection: nothing is known of the line but Hello's answer. */
  readonly first: Cost;
  /** A later one of the same length. */
  readonly prompt: Cost;
  readonly token: Cost;
  /** Milliseconds of the first decode step, which asks for what look-ahead needs. */
  readonly firstTokenMs: number;
}

/** A source that does not say what asking costs: as if it were in this process. */
class WithoutLine implements DeltaSource {
  readonly #inner: RemoteAdapter;

  constructor(inner: RemoteAdapter) {
    this.#inner = inner;
  }
  get groups(): readonly AdaptedGroup[] {
    return this.#inner.groups;
  }
  get lowRank(): LowRankSource {
    return this.#inner.lowRank;
  }
  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    return this.#inner.begin(group, x, tokens);
  }
}

/** Tokens before the ones that count. */
const WARM_UP = 2;

export async function measureOver(
  url: string,
  { checkpoint, baseFingerprint, weights }: NetworkModel,
  mode: Mode,
  asked: Asked,
): Promise<Costs> {
  const platform = nodePlatform();
  const { provider, bundle } = await RemoteProvider.connect(platform, { url, baseFingerprint });
  const cleanUp: (() => unknown)[] = [() => provider.close()];
  try {
    const { vectorsPerKey } = provider.welcome;
    const remote = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey);
    cleanUp.push(() => remote.dispose());
    const restored = remote.restoreKeys();
    const model = await CausalLm.load(checkpoint, platform.tensors, {
      deltas: mode.knowsLine ? remote : new WithoutLine(remote),
      lookAhead: mode.lookAhead,
      weights,
      weightCache: nodeFileCache(join(benchCache(), "weights")),
    });
    cleanUp.push(() => model.dispose());
    await restored;
    const ids = Array.from(
      { length: asked.prompt + WARM_UP + asked.tokens },
      (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % model.config.vocabSize,
    );
    const cache = model.newCache(ids.length);
    const cost = async (input: readonly number[]): Promise<Cost> => {
      const before = { ...provider.traffic };
      const { exchanges } = model.timings;
      const start = performance.now();
      await model.forward(input, cache);
      const ms = performance.now() - start;
      const { bytesUp, bytesDown, vectors, roundTrips } = provider.traffic;
      return {
        ms,
        bytesUp: bytesUp - before.bytesUp,
        bytesDown: bytesDown - before.bytesDown,
        vectors: vectors - before.vectors,
        queries: roundTrips - before.roundTrips,
        exchanges: model.timings.exchanges - exchanges,
      };
    };
    const prompt = ids.slice(0, asked.prompt);
    await remote.ready();
    const first = await cost(prompt);
    await remote.ready();
    const firstTokenMs = (await cost([ids[asked.prompt]])).ms;
    for (let i = 1; i < WARM_UP; i++) await cost([ids[asked.prompt + i]]);
    const tokens: Cost[] = [];
    for (const id of ids.slice(asked.prompt + WARM_UP)) tokens.push(await cost([id]));
    cache.truncate(0);
    await remote.ready();
    const later = await cost(prompt);
    const token = tokens.toSorted((a, b) => a.ms - b.ms)[Math.floor((tokens.length - 1) / 2)];
    return { first, prompt: later, token, firstTokenMs };
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}
