// What tokens cost with drafts and without, over one line: the same text, drawn with the same seed.
import { join } from "node:path";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { generate } from "../../src/generation/generate.ts";
import { TokenChoice } from "../../src/generation/token-choice.ts";
import type { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileCache, nodePlatform } from "../../src/platform/node.ts";
import { benchCache } from "../seeded-model.ts";
import { formatBytes, formatMs, markdownTable } from "../harness.ts";
import type { Line } from "./lines.ts";
import type { NetworkModel } from "./measure-over.ts";

export interface DraftedTokens {
  readonly line: Line;
  /** As drafts are asked for; undefined: by the line. */
  readonly drafts: number | undefined;
  /** Of a token: milliseconds, waits, activation vectors of each group, bytes. */
  readonly ms: number;
  readonly exchanges: number;
  readonly vectors: number;
  readonly bytesUp: number;
  readonly drafted: number;
  readonly accepted: number;
  readonly ids: readonly number[];
}

// Drawn: the likeliest tokens of a model with random weights are soon a circle, which prompt lookup knows by heart.
const SAMPLING = { temperature: 1, seed: 1 };
const PROMPT_TOKENS = 32;
/** For what is asked once, and for a first estimate of line and model. */
const WARM_UP = 16;

export async function measureDrafts(
  url: string,
  { checkpoint, baseFingerprint, weights }: NetworkModel,
  line: Line,
  drafts: number | undefined,
  tokens: number,
): Promise<DraftedTokens> {
  const platform = nodePlatform();
  const { provider, bundle } = await RemoteProvider.connect(platform, { url, baseFingerprint });
  const cleanUp: (() => unknown)[] = [() => provider.close()];
  try {
    const { vectorsPerKey } = provider.welcome;
    const remote = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey, platform.encryption);
    cleanUp.push(() => remote.dispose());
    const restored = remote.restoreKeys();
    const model = await CausalLm.load(checkpoint, platform.tensors, {
      deltas: remote,
      weights,
      weightCache: nodeFileCache(join(benchCache(), "weights")),
    });
    cleanUp.push(() => model.dispose());
    await restored;
    await remote.ready();
    const counts = { drafted: 0, accepted: 0 };
    const now = () => ({
      ms: performance.now(),
      exchanges: model.timings.exchanges,
      vectors: provider.traffic.vectors,
      bytesUp: provider.traffic.bytesUp,
      ...counts,
    });
    let from = now();
    const ids: number[] = [];
    const options = { maxNewTokens: WARM_UP + tokens, sampling: SAMPLING, drafts, draftCounts: counts };
    for await (const { id } of generate(model, promptOf(model), options)) {
      ids.push(id);
      if (ids.length === WARM_UP) from = now();
    }
    const to = now();
    const each = (name: "ms" | "exchanges" | "vectors" | "bytesUp") => (to[name] - from[name]) / tokens;
    return {
      line,
      drafts,
      ms: each("ms"),
      exchanges: each("exchanges"),
      vectors: each("vectors") / remote.groups.length,
      bytesUp: each("bytesUp"),
      drafted: to.drafted - from.drafted,
      accepted: to.accepted - from.accepted,
      ids,
    };
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

/** How often the base model says the next token of a text that the adapted model has drawn, with the same draws. */
export async function agreementOn(
  ids: readonly number[],
  { checkpoint, weights }: NetworkModel,
  deltas: LocalLora,
): Promise<number> {
  const weightCache = nodeFileCache(join(benchCache(), "weights"));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { deltas, weights, weightCache });
  try {
    const prompt = promptOf(model);
    const choice = new TokenChoice(SAMPLING, prompt.length, prompt);
    const cache = model.newCache();
    let next = prompt;
    let same = 0;
    for (const id of ids) {
      const choose = (logits: Float32Array) => choice.choose(logits);
      const [guess] = await model.draft(cache, { ids: next, most: 1, choose });
      if (guess === id) same++;
      await model.forward(next, cache);
      choice.push(id);
      next = [id];
    }
    return same / ids.length;
  } finally {
    await model.dispose();
  }
}

function promptOf({ config }: CausalLm): readonly number[] {
  return Array.from(
    { length: PROMPT_TOKENS },
    (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % config.vocabSize,
  );
}

/** @param agreement how often the base model says the token that the private one says, with the same draws */
export function reportDrafts(results: readonly DraftedTokens[], agreement: number): string {
  const header = ["line", "drafts", "token", "waits", "vectors a group", "up", "accepted of drafted"];
  const rows = results.map(({ line, drafts, ...costs }) => [
    line.title,
    drafts === 0 ? "none" : drafts === undefined ? "by the line" : `${drafts} a pass`,
    formatMs(costs.ms),
    costs.exchanges.toFixed(1),
    costs.vectors.toFixed(2),
    formatBytes(costs.bytesUp),
    costs.drafted === 0 ? "–" : `${costs.accepted} of ${costs.drafted}`,
  ]);
  const [first, ...others] = results.map(({ ids }) => ids);
  const same = others.every((ids) => ids.every((id, i) => id === first[i]));
  const notes = [
    `Mean of ${first.length - WARM_UP} tokens, drawn at temperature 1. The base model alone says the same token in`,
    `${(100 * agreement).toFixed(0)} % of the places of this text.`,
    same ? "All rows have the same text." : "Not all rows have the same text: a near tie fell the other way.",
  ];
  return [markdownTable(header, rows), notes.join(" ")].join("\n\n");
}
