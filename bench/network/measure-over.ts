// One connection to a provider, in one way of asking: prompts, then some tokens, with what went over the line.
import { join } from "node:path";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { generate } from "../../src/generation/generate.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { AdaptedGroup, DeltaSource, LowRankSource, PendingDelta } from "../../src/model/delta-source.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import { nodeFileCache, nodePlatform } from "../../src/platform/node.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { benchCache } from "../seeded-model.ts";

export interface NetworkModel {
  readonly checkpoint: Checkpoint;
  readonly baseFingerprint: Uint8Array;
  readonly weights: WeightFormat;
}

/** Which measures are on. */
export interface Mode {
  /** As --modes has it. */
  readonly name: string;
  /** For a table. */
  readonly title: string;
  /** Groups that follow each other are asked together. */
  readonly lookAhead: boolean;
  /** The model knows what the line costs, and asks accordingly: prompts in parts, look-ahead for several tokens. */
  readonly knowsLine: boolean;
  readonly drafts: boolean;
  /** The adapter begins to act at the end of the prompt. */
  readonly isActivated?: boolean;
}

export const MODES: readonly Mode[] = [
  { name: "none", title: "none", lookAhead: false, knowsLine: false, drafts: false },
  { name: "look-ahead", title: "look-ahead", lookAhead: true, knowsLine: false, drafts: false },
  { name: "wavefront", title: "and wavefront", lookAhead: true, knowsLine: true, drafts: false },
  { name: "drafts", title: "and drafts", lookAhead: true, knowsLine: true, drafts: true },
  {
    ...{ name: "alora", title: "and activated LoRA", lookAhead: true },
    ...{ knowsLine: true, drafts: true, isActivated: true },
  },
];

/** What an activated adapter begins to act at. */
export const INVOCATION: readonly number[] = [11, 12];

/** Tokens to read and to generate. */
export interface Asked {
  readonly prompt: number;
  /** Without drafts; with drafts so many times as many, since what they save differs from pass to pass. */
  readonly tokens: number;
}
const DRAFTED_TOKENS = 4;

/** What a prompt cost, or a token on the average. */
export interface Cost {
  readonly ms: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly vectors: number;
  /** Waits for the provider that follow each other. */
  readonly exchanges: number;
  /** Passes through the model, each part of an input for itself. */
  readonly parts: number;
}

export interface Costs {
  /** The first prompt of a connection: nothing is known of the line but Hello's answer. */
  readonly first: Cost;
  /** A later one of the same length. */
  readonly prompt: Cost;
  readonly token: Cost;
  /** Steps for each token: fewer than one with drafts. */
  readonly steps: number;
  /** Of an activated adapter: the prompt in its two parts. */
  readonly invocation?: { readonly before: Cost; readonly from: Cost };
  /** Of the tokens that counted and those before. */
  readonly drafts: { drafted: number; accepted: number };
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

/** Tokens before the ones that count: the first asks for the effects of look-ahead, the others show what drafts are worth. */
const WARM_UP = 6;
/** Of readings of which no line is a part the fastest counts. */
const BASE_READINGS = 4;

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
    const remote = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey, platform.encryption);
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
    const prompt = [...beforeInvocation(asked, model), ...INVOCATION];
    const tokens = asked.tokens * (mode.drafts ? DRAFTED_TOKENS : 1);
    const cache = model.newCache(prompt.length + WARM_UP + tokens + 1);
    const counts = () => {
      const { bytesUp, bytesDown, vectors } = provider.traffic;
      const { exchanges, forwards } = model.timings;
      return { ms: performance.now(), bytesUp, bytesDown, vectors, exchanges, parts: forwards };
    };
    const read = async (): Promise<Cost> => {
      cache.truncate(0);
      model.adaptFrom(model.adaptedFrom(prompt), cache);
      await remote.ready();
      const before = counts();
      await model.forward(prompt, cache);
      return difference(counts(), before, 1);
    };
    const readInTwo = async () => {
      let best = await readOnceInTwo();
      for (let time = 1; time < BASE_READINGS; time++) {
        const next = await readOnceInTwo();
        if (next.before.ms < best.before.ms) best = next;
      }
      return best;
    };
    const readOnceInTwo = async () => {
      cache.truncate(0);
      model.adaptFrom(model.adaptedFrom(prompt), cache);
      await remote.ready();
      const at = prompt.length - INVOCATION.length;
      const start = counts();
      await model.forward(prompt.slice(0, at), cache);
      const between = counts();
      await model.forward(prompt.slice(at), cache);
      return { before: difference(between, start, 1), from: difference(counts(), between, 1) };
    };
    const first = await read();
    await remote.ready();
    const drafts = { drafted: 0, accepted: 0 };
    let before = counts();
    let after = before;
    const answer = generate(model, [1], {
      cache,
      cachedIds: prompt,
      maxNewTokens: WARM_UP + tokens,
      // Text of a random model that is chosen by likelihood alone soon repeats itself.
      sampling: { temperature: 1, seed: 7 },
      draftCounts: drafts,
      ...(mode.drafts ? {} : { drafts: 0 }),
    });
    let last = 0;
    let steps = 0;
    for await (const { index } of answer) {
      // Tokens of one step come without anything being read between them.
      if (model.timings.forwards > after.parts) steps++;
      after = counts();
      if (index === WARM_UP - 1) [before, steps] = [after, 0];
      last = index;
    }
    const tokensOf = last - WARM_UP + 1;
    const costs = { token: difference(after, before, tokensOf), steps: steps / tokensOf, drafts };
    const later = await read();
    if (!mode.isActivated) return { first, prompt: later, ...costs };
    return { first, prompt: later, ...costs, invocation: await readInTwo() };
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

function beforeInvocation({ prompt }: Asked, { config }: CausalLm): number[] {
  return Array.from(
    { length: prompt - INVOCATION.length },
    (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % config.vocabSize,
  );
}

/** What stands before the invocation, read by the base model where there is no adapter: the least of a few times. */
export async function basePromptMs({ checkpoint, weights }: NetworkModel, asked: Asked): Promise<number> {
  const weightCache = nodeFileCache(join(benchCache(), "weights"));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weights, weightCache });
  try {
    const ids = beforeInvocation(asked, model);
    const cache = model.newCache(asked.prompt);
    let ms = Number.POSITIVE_INFINITY;
    for (let time = 0; time < BASE_READINGS; time++) {
      cache.truncate(0);
      const start = performance.now();
      await model.forward(ids, cache);
      ms = Math.min(ms, performance.now() - start);
    }
    return ms;
  } finally {
    await model.dispose();
  }
}

function difference(after: Cost, before: Cost, count: number): Cost {
  const of = (name: keyof Cost) => (after[name] - before[name]) / count;
  return {
    ms: of("ms"),
    bytesUp: of("bytesUp"),
    bytesDown: of("bytesDown"),
    vectors: of("vectors"),
    exchanges: of("exchanges"),
    parts: of("parts"),
  };
}
