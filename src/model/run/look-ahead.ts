/**
 * One exchange for two adapted layers that follow each other: h' = h + W₁x + delta₁, y = W₂·norm(h') + b₂ + delta₂.
 *
 * An RMS norm is linear but for one factor for each token, norm(h') = s·(g ⊙ h') with s = 1/sqrt(mean(h'²) + eps). So
 * the second layer need not wait for the first one's answer: with t = g ⊙ (h + W₁x), and delta₁ = Σ_k y_k·b_k of a
 * low rank,
 *
 *   y = s·(W₂t + A₂t + Σ_k y_k·c_k) + b₂,   c_k = (W₂ + A₂)·(g ⊙ b_k),
 *
 * where A₂ is the second private layer as a function. Both are asked at the same time, W₂t is computed meanwhile, and
 * what comes back is put together. The c_k are asked for once, like anything else: the rank of the first layer in
 * queries of the second. b_k is public, so nothing is learnt or shown that a client does not see anyway.
 *
 * Three words: a *pair* is two such groups (graph/pair.ts; graph/blocks/add-then-linear.ts writes its segments), its
 * *effects* are the c_k, which a source of deltas keeps, and an *exchange* is both queries of a pair on their way.
 *
 * Without c_k, and where Σ_k y_k·c_k of many tokens would cost more than the round trip that it saves, the same segments
 * run one after the other: t = g ⊙ (h + W₁x + delta₁).
 */
import type { Tensor } from "../../base/platform.ts";
import { throwIfAborted, unlessAborted } from "../../base/abort.ts";
import { TacetError } from "../../base/errors.ts";
import type { LowRankSource, PendingDelta } from "../delta-source.ts";
import { partsOf } from "../graph/linear-place.ts";
import type { LoadedModel, LoadedPair, LoadedSegment } from "./loaded-model.ts";
import type { SegmentPass } from "./segment-pass.ts";

/** Two queries of a pair on their way. */
export interface Exchange {
  readonly pair: LoadedPair;
  readonly sum: Float32Array;
  /** undefined: it has been waited for, `sum` has it already. */
  readonly first: PendingDelta | undefined;
  readonly second: PendingDelta;
}

/** How far the effects of one source are. */
interface Progress {
  /** Tokens that were decoded without. */
  tokens: number;
  work: Promise<void> | undefined;
  /** Passes that wait for `work`. */
  waiting: number;
  isOver: boolean;
}

/** Milliseconds for a product and a sum of y_k·c_k: 3·10⁹ a second, of one core. */
const PRODUCT_MS = 1 / 3e6;
/** Pairs whose effects are asked for at the same time. */
const ASKED_AT_A_TIME = 8;

/** A step can do without look-ahead where these keep it from being prepared. */
const NOT_FATAL: readonly string[] = ["budget_exhausted", "too_many_requests", "too_large"];

/** The pairs of one loaded model. */
export class LookAhead {
  readonly #model: LoadedModel;
  readonly #after: number;
  readonly #progress = new WeakMap<LowRankSource, Progress>();

  /** @param after tokens that are decoded without */
  constructor(model: LoadedModel, after: number) {
    this.#model = model;
    this.#after = after;
  }

  /**
   * Before a decode step, of one token or a few: finds the effects of all pairs, once for each source, when enough went
   * without.
   *
   * @throws TypeError if another model has given the source effects: its weights made them; TacetError aborted;
   *   whatever the source fails with, but for refusals that the step can do without
   */
  async prepare(tokens: number, signal: AbortSignal | undefined): Promise<void> {
    const { deltas, pairs } = this.#model;
    const lowRank = pairs.size === 0 ? undefined : deltas?.lowRank;
    if (!lowRank) return;
    const progress = this.#progressOf(lowRank);
    if (progress.isOver) return;
    const before = progress.tokens;
    progress.tokens += tokens;
    if (before < this.#after) return;
    progress.waiting++;
    try {
      progress.work ??= this.#findEffects(lowRank, progress).finally(() => (progress.work = undefined));
      await unlessAborted(progress.work, signal);
    } finally {
      progress.waiting--;
    }
  }

  /** How many pairs a pass over so many tokens asks together. */
  pairsTogether(tokens: number): number {
    return [...this.#model.pairs.values()].filter((pair) => this.#sourceFor(pair, tokens)).length;
  }

  /** Asks both groups: together where that is known to be faster, else one after the other. */
  async ask(pair: LoadedPair, pass: SegmentPass, signal: AbortSignal | undefined): Promise<Exchange> {
    const deltas = this.#model.deltas!;
    const { first, second, slots, gain } = pair;
    const { tokens } = pass;
    const [x, sum] = [pass.data(slots.x), pass.data(slots.sum)];
    const lowRank = this.#sourceFor(pair, tokens);
    if (!lowRank) {
      addTo(sum, (await deltas.begin(first, x, tokens).wait())[0]);
      throwIfAborted(signal);
    }
    const normed = pass.give(slots.normed, gain.length);
    for (let at = 0; at < sum.length; at += gain.length) {
      for (let i = 0; i < gain.length; i++) normed[at + i] = gain[i] * sum[at + i];
    }
    if (!lowRank) return { pair, sum, first: undefined, second: deltas.begin(second, normed, tokens) };
    const pending = lowRank.beginPair({ group: first, x }, { group: second, x: normed }, tokens);
    return { pair, sum, first: pending[0], second: pending[1] };
  }

  /** Waits for the answers and gives the next segment h', s and what is added to the product. */
  async take({ pair, sum, first, second }: Exchange, pass: SegmentPass): Promise<void> {
    const { slots, norm } = pair;
    const { width, epsilon } = norm;
    if (first) addTo(sum, (await first.wait())[0]);
    pass.give(slots.hidden, width).set(sum);
    const factor = pass.give(slots.factor, 1);
    for (let t = 0; t < pass.tokens; t++) factor[t] = inverseRms(sum, t * width, width, epsilon);
    await pass.giveDeltas(slots.delta, pair.second, (targets) => second.wait(targets));
  }

  /** Who may be asked for both groups of a pair together. */
  #sourceFor({ first, second }: LoadedPair, tokens: number): LowRankSource | undefined {
    const { lowRank, line, groups } = this.#model.deltas ?? {};
    if (!lowRank?.hasEffects(second)) return undefined;
    if (tokens === 1) return lowRank;
    const outputs = groups![second].outFeatures.reduce((sum, out) => sum + out, 0);
    const effectsMs = tokens * lowRank.rankOf(first) * outputs * PRODUCT_MS;
    return line !== undefined && effectsMs < line.roundTripMs ? lowRank : undefined;
  }

  /** What a segment is given of an adapter that is here; beside a source of deltas that is zeros. */
  #lorasOf(inputs: LoadedSegment["inputs"]): Record<string, Tensor> {
    const { loras } = this.#model;
    const names = inputs.map(({ name }) => name).filter((name) => loras.has(name));
    return Object.fromEntries(names.map((name) => [name, loras.get(name)!]));
  }

  #progressOf(lowRank: LowRankSource): Progress {
    let progress = this.#progress.get(lowRank);
    if (progress) return progress;
    for (const second of this.#model.pairs.keys()) {
      if (lowRank.hasEffects(second))
        throw new TypeError("a source of deltas serves one model: make another");
    }
    progress = { tokens: 0, work: undefined, waiting: 0, isOver: false };
    this.#progress.set(lowRank, progress);
    return progress;
  }

  async #findEffects(lowRank: LowRankSource, progress: Progress): Promise<void> {
    const pairs = [...this.#model.pairs.values()].filter(({ second }) => !lowRank.hasEffects(second));
    let failure: { readonly error: unknown } | undefined;
    let next = 0;
    // What has been asked for is taken: vectors are not spent twice.
    const asker = async (): Promise<void> => {
      while (next < pairs.length && failure === undefined && progress.waiting > 0) {
        const pair = pairs[next++];
        try {
          lowRank.setEffects(pair.first, pair.second, await this.#effectsOf(pair, lowRank));
        } catch (error) {
          failure ??= { error };
        }
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_A_TIME }, asker));
    if (failure && !isHarmless(failure.error)) throw failure.error;
    // If all were aborted, the next step goes on; groups without effects are asked one after the other.
    progress.isOver = failure !== undefined || next === pairs.length;
  }

  /** c_k, with the segment and the source that give every other product: (rank, outFeatures[i]) of each module. */
  async #effectsOf(pair: LoadedPair, lowRank: LowRankSource): Promise<readonly Float32Array[]> {
    const deltas = this.#model.deltas!;
    const width = pair.gain.length;
    const basis = lowRank.basisOf(pair.first);
    const rank = basis.length / width;
    const normed = new Float32Array(basis.length);
    for (let i = 0; i < basis.length; i++) normed[i] = pair.gain[i % width] * basis[i];
    const pending = deltas.begin(pair.second, normed, rank);
    try {
      const given = { type: "float32", dims: [1, rank, width], data: normed } as const;
      const { session, inputs } = pair.segment;
      const feeds = { [pair.names.normed]: given, ...this.#lorasOf(inputs) };
      const results = await session.run(feeds);
      const product = results[pair.names.product].data as Float32Array;
      const { modules, outFeatures } = deltas.groups[pair.second];
      const effects = await pending.wait();
      const out = product.length / rank;
      for (let k = 0; k < rank; k++) {
        const row = product.subarray(k * out, (k + 1) * out);
        for (const [i, part] of partsOf(this.#model.places[pair.second], modules, row).entries()) {
          addTo(effects[i].subarray(k * outFeatures[i], (k + 1) * outFeatures[i]), part);
        }
      }
      return effects;
    } catch (error) {
      pending.wait().catch(() => {});
      throw error;
    }
  }
}

const isHarmless = (error: unknown): boolean =>
  error instanceof RangeError || (error instanceof TacetError && NOT_FATAL.includes(error.code));

/** Leaves what is on its way to itself: what comes of it, errors too, is ignored. */
export function drop(pending: PendingDelta | undefined): void {
  pending?.drop?.();
  pending?.wait().catch(() => {});
}

export function dropExchange({ first, second }: Exchange): void {
  drop(first);
  drop(second);
}

function addTo(target: Float32Array, more: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += more[i];
}

/** 1/sqrt(mean(h²) + eps), the sum in float64. */
function inverseRms(h: Float32Array, at: number, width: number, epsilon: number): number {
  let squares = 0;
  for (let i = at; i < at + width; i++) squares += h[i] * h[i];
  return 1 / Math.sqrt(squares / width + epsilon);
}
