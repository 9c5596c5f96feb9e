// Prefill and decode of one model with two sources of deltas, in turns.
import type { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import type { RemoteProvider } from "../../src/client/remote-provider.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import type { KvCache } from "../../src/model/kv-cache.ts";
import type { SwitchedDeltas } from "./switched-deltas.ts";

export const PROMPT_TOKENS = 128;
const DECODE_TOKENS = 64;
/** Steps of one mode before it is the other's turn. */
const BLOCK = 8;
const PREFILLS = 3;
/** Decode steps of each mode before the ones that count: new code is slow until V8 has compiled it. */
const WARM_UP = 16;

export type Mode = "plaintext" | "private";
const MODES: readonly Mode[] = ["plaintext", "private"];

/** Milliseconds of each step of one mode. */
export interface Steps {
  readonly prefill: number[];
  readonly decode: number[];
  /** The first steps, which do not count; the very first one of private ones asks for the effects of look-ahead. */
  readonly warmUp: number[];
  /** Of each decode step: in the base model, before the answers are on their way, waiting for them. */
  readonly split: Record<Part, number[]>;
}

export const PARTS = ["modelMs", "beginMs", "waitMs"] as const;
type Part = (typeof PARTS)[number];

export interface Measured {
  readonly steps: Readonly<Record<Mode, Steps>>;
  /** Traffic when decoding began. */
  readonly before: { bytesUp: number; bytesDown: number };
  /** Of a decode step: waits for the provider. */
  readonly exchanges: number;
  readonly error: number;
  readonly largestError: number;
  readonly sameChoice: number;
}

export async function measureModes(
  model: CausalLm,
  deltas: SwitchedDeltas<Mode>,
  remote: RemoteAdapter,
  provider: RemoteProvider,
  quick: boolean,
): Promise<Measured> {
  const none = (): Steps => ({
    prefill: [],
    decode: [],
    warmUp: [],
    split: { modelMs: [], beginMs: [], waitMs: [] },
  });
  const steps: Record<Mode, Steps> = { plaintext: none(), private: none() };
  const ids = seededIds(PROMPT_TOKENS + DECODE_TOKENS, model.config.vocabSize);
  const prompt = ids.slice(0, PROMPT_TOKENS);
  const caches = new Map<Mode, KvCache>();
  const capacity = ids.length;
  const forward = async (mode: Mode, input: readonly number[]) => {
    deltas.active = mode;
    const start = performance.now();
    const logits = await model.forward(input, caches.get(mode)!);
    return { logits, ms: performance.now() - start };
  };
  for (const mode of MODES) {
    // Warm-up: memory of this size is touched for the first time.
    caches.set(mode, model.newCache(capacity));
    await forward(mode, prompt.slice(0, 8));
  }
  for (let i = 0; i < (quick ? 1 : PREFILLS); i++) {
    for (const mode of turn(i)) {
      caches.get(mode)!.dispose();
      caches.set(mode, model.newCache(capacity));
      await remote.ready();
      steps[mode].prefill.push((await forward(mode, prompt)).ms);
    }
  }
  for (const mode of MODES) {
    await remote.ready();
    for (let i = 0; i < WARM_UP; i++) steps[mode].warmUp.push((await forward(mode, [ids[i]])).ms);
    caches.get(mode)!.truncate(PROMPT_TOKENS);
  }
  const before = { ...provider.traffic };
  const decode = quick ? 2 * BLOCK : DECODE_TOKENS;
  let [squares, count, largestError, sameChoice] = [0, 0, 0, 0];
  for (let first = 0; first < decode; first += BLOCK) {
    const logits: Record<Mode, Float32Array[]> = { plaintext: [], private: [] };
    for (const mode of turn(first / BLOCK)) {
      // A reader's pause: idle work is done, and falls into nobody's time.
      await remote.ready();
      for (const id of ids.slice(PROMPT_TOKENS + first, PROMPT_TOKENS + first + BLOCK)) {
        const clock = model.timings;
        const step = await forward(mode, [id]);
        for (const part of PARTS) steps[mode].split[part].push(model.timings[part] - clock[part]);
        steps[mode].decode.push(step.ms);
        logits[mode].push(step.logits);
      }
    }
    for (const [i, want] of logits.plaintext.entries()) {
      const got = logits.private[i];
      if (indexOfLargest(got) === indexOfLargest(want)) sameChoice++;
      for (let k = 0; k < want.length; k++) {
        const error = Math.abs(got[k] - want[k]);
        largestError = Math.max(largestError, error);
        squares += error ** 2;
      }
      count += want.length;
    }
  }
  const { sessionRuns } = model.timings;
  await forward("private", [ids[0]]);
  const runs = model.timings.sessionRuns - sessionRuns;
  for (const cache of caches.values()) cache.dispose();
  return {
    steps,
    before,
    // A segment before the first, then one during and one after each.
    exchanges: (runs - 1) / 2,
    error: Math.sqrt(squares / count),
    largestError,
    sameChoice,
  };
}

/** Prefill and decode steps of a model without cuts, that has its adapter inside the graph or none. */
export async function measureWhole(
  model: CausalLm,
  quick: boolean,
): Promise<Pick<Steps, "prefill" | "decode">> {
  const ids = seededIds(PROMPT_TOKENS + DECODE_TOKENS, model.config.vocabSize);
  const prompt = ids.slice(0, PROMPT_TOKENS);
  const steps: Pick<Steps, "prefill" | "decode"> = { prefill: [], decode: [] };
  let cache = model.newCache(ids.length);
  await model.forward(prompt.slice(0, 8), cache);
  const timed = async (kind: "prefill" | "decode", input: readonly number[]) => {
    const start = performance.now();
    await model.forward(input, cache);
    steps[kind].push(performance.now() - start);
  };
  for (let i = 0; i < (quick ? 1 : PREFILLS); i++) {
    cache.dispose();
    cache = model.newCache(ids.length);
    await timed("prefill", prompt);
  }
  for (let i = 0; i < WARM_UP; i++) await model.forward([ids[i]], cache);
  cache.truncate(PROMPT_TOKENS);
  const decode = quick ? 2 * BLOCK : DECODE_TOKENS;
  for (const id of ids.slice(PROMPT_TOKENS, PROMPT_TOKENS + decode)) await timed("decode", [id]);
  cache.dispose();
  return steps;
}

/** Who goes first changes every time. */
const turn = (round: number): readonly Mode[] => (round % 2 === 0 ? MODES : MODES.toReversed());

/** Ids all over the vocabulary, always the same. */
function seededIds(count: number, vocab: number): number[] {
  return Array.from({ length: count }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % vocab);
}

function indexOfLargest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

export function quantiles(samples: readonly number[]): number[] {
  const sorted = samples.toSorted((a, b) => a - b);
  return [0.1, 0.5, 0.9].map((part) => sorted[Math.floor(part * (sorted.length - 1))]);
}
