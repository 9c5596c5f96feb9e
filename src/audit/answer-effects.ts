/** What b0 and the width of E cost answers: next-token agreement with the plaintext adapter, and perplexity, on a text. */
import type { TensorRuntime } from "../base/platform.ts";
import { type LocalAdapter, LocalLora } from "../model/adapter/local-lora.ts";
import { CausalLm } from "../model/causal-lm.ts";
import type { DeltaSource } from "../model/delta-source.ts";
import type { RandomSource } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { type Precision, SimulatedLayers } from "./simulated-layers.ts";

export interface EffectRow {
  /** "base alone", "plaintext adapter", "as the product", or how b0 and E's width differ from the product's. */
  readonly what: string;
  readonly precision: Precision | undefined;
  readonly tokens: number;
  /** Share of positions whose likeliest next token is that of the plaintext adapter. */
  readonly agreement: number;
  /** exp of the mean of −log p(next token). */
  readonly perplexity: number;
}

/** Offsets to the product's b0 and bits of E that are tried. */
export const PRECISIONS: readonly Precision[] = [
  { replyBits: 0, weightErrorBits: 0 },
  { replyBits: -2, weightErrorBits: 0 },
  { replyBits: -4, weightErrorBits: 0 },
  { replyBits: -6, weightErrorBits: 0 },
  { replyBits: 2, weightErrorBits: 0 },
  { replyBits: 0, weightErrorBits: 1 },
  { replyBits: 0, weightErrorBits: 3 },
  { replyBits: 0, weightErrorBits: 5 },
];

export interface EffectInput {
  readonly checkpoint: Checkpoint;
  readonly adapter: LocalAdapter;
  readonly runtime: TensorRuntime;
  readonly text: readonly (readonly number[])[];
  /** Tokens that are read at most. */
  readonly maxTokens: number;
  readonly random: RandomSource;
  readonly signal?: AbortSignal;
}

export async function answerEffects(
  input: EffectInput,
  onProgress: (fraction: number) => void = () => {},
): Promise<EffectRow[]> {
  const { adapter, random, signal } = input;
  const sequences = firstTokens(input.text, input.maxTokens);
  const reference = await read(input, sequences, new LocalLora(adapter));
  const rows: EffectRow[] = [];
  const add = (what: string, precision: Precision | undefined, reading: Reading): void => {
    const same = reading.top.filter((id, i) => id === reference.top[i]).length;
    const tokens = reading.top.length;
    rows.push({ what, precision, tokens, agreement: same / tokens, perplexity: reading.perplexity });
  };
  add("plaintext adapter", undefined, reference);
  add("base alone", undefined, await read(input, sequences, undefined));
  for (const [i, precision] of PRECISIONS.entries()) {
    signal?.throwIfAborted();
    onProgress(i / PRECISIONS.length);
    const layers = new SimulatedLayers(DEFAULT_PARAMETERS, adapter, precision, random);
    add(nameOf(precision), precision, await read(input, sequences, layers));
  }
  return rows;
}

function nameOf({ replyBits, weightErrorBits }: Precision): string {
  const part = (name: string, by: number) =>
    by === 0 ? [] : [`${name} ${by > 0 ? "+" : "-"} ${Math.abs(by)}`];
  const parts = [...part("b0", replyBits), ...part("bits of E", weightErrorBits)];
  return parts.length === 0 ? "as the product" : parts.join(", ");
}

function firstTokens(text: readonly (readonly number[])[], most: number): (readonly number[])[] {
  const sequences: (readonly number[])[] = [];
  let left = most;
  for (const sequence of text) {
    if (left < 2) break;
    const part = sequence.slice(0, left);
    if (part.length > 1) sequences.push(part);
    left -= part.length;
  }
  return sequences;
}

interface Reading {
  readonly top: number[];
  readonly perplexity: number;
}

async function read(
  { checkpoint, runtime }: EffectInput,
  sequences: readonly (readonly number[])[],
  deltas: DeltaSource | undefined,
): Promise<Reading> {
  const model = await CausalLm.load(checkpoint, runtime, deltas === undefined ? {} : { deltas });
  const top: number[] = [];
  let loss = 0;
  let count = 0;
  try {
    for (const ids of sequences) {
      const cache = model.newCache();
      const logits = await model.forwardAll(ids, cache);
      cache.dispose();
      const vocab = logits.length / ids.length;
      for (let t = 0; t < ids.length; t++) {
        const row = logits.subarray(t * vocab, (t + 1) * vocab);
        let best = 0;
        for (let i = 1; i < vocab; i++) if (row[i] > row[best]) best = i;
        top.push(best);
        if (t + 1 === ids.length) continue;
        let sum = 0;
        for (let i = 0; i < vocab; i++) sum += Math.exp(row[i] - row[best]);
        loss += Math.log(sum) + row[best] - row[ids[t + 1]];
        count++;
      }
    }
  } finally {
    await model.dispose();
  }
  return { top, perplexity: Math.exp(loss / count) };
}
