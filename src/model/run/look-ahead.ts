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
 * Without c_k (a prompt, where one round trip more is cheap and T·rank products are not) the same segments run one
 * after the other: t = g ⊙ (h + W₁x + delta₁).
 */
import type { TensorSession } from "../../base/platform.ts";
import type { DeltaSource, LowRankSource, PendingDelta } from "../delta-source.ts";
import { type LinearPlace, partsOf } from "../graph/linear-place.ts";
import type { SegmentPass, Slot } from "./segment-pass.ts";

/** Two groups that are asked together, with the names of the values between the segments. */
export interface AheadPair {
  /** Groups of the DeltaSource. */
  readonly first: number;
  readonly second: number;
  /** Of the norm between them: name of g, its length, eps. */
  readonly norm: { readonly weight: string; readonly width: number; readonly epsilon: number };
  readonly names: Readonly<Record<AheadName, string>>;
}

/**
 * x, sum = h + W₁x + b₁ and product = W₂t are made by segments; normed = t, hidden = h', factor = s and delta, what
 * is added to the product, are given to them.
 */
export type AheadName = "x" | "sum" | "normed" | "product" | "hidden" | "factor" | "delta";

/** A pair whose segments are loaded. */
export interface LoadedPair extends AheadPair {
  readonly slots: Readonly<Record<AheadName, Slot>>;
  /** g */
  readonly gain: Float32Array;
  /** normed → product */
  readonly session: TensorSession;
}

/** Two queries of a pair on their way. */
export interface Exchange {
  readonly pair: LoadedPair;
  readonly sum: Float32Array;
  /** undefined: it has been waited for, `sum` has it already. */
  readonly first: PendingDelta | undefined;
  readonly second: PendingDelta;
}

/**
 * Asks both groups, the second with the first's answer still open if the source knows what it will add.
 *
 * @param mayGoOn throws where nothing more shall be asked
 */
export async function askAhead(
  pair: LoadedPair,
  pass: SegmentPass,
  deltas: DeltaSource,
  mayGoOn: () => void,
): Promise<Exchange> {
  const { tokens } = pass;
  const { slots, gain } = pair;
  const sum = pass.data(slots.sum);
  const width = gain.length;
  const isAhead = tokens === 1 && deltas.lowRank?.isCoupled(pair.second) === true;
  const first = deltas.begin(pair.first, pass.data(slots.x), tokens);
  if (!isAhead) {
    addTo(sum, (await first.wait())[0]);
    mayGoOn();
  }
  const normed = pass.give(slots.normed, width);
  for (let at = 0; at < sum.length; at += width) {
    for (let i = 0; i < width; i++) normed[at + i] = gain[i] * sum[at + i];
  }
  if (!isAhead) return { pair, sum, first: undefined, second: deltas.begin(pair.second, normed, tokens) };
  try {
    return { pair, sum, first, second: deltas.begin(pair.second, normed, tokens, first) };
  } catch (error) {
    first.wait().catch(() => {});
    throw error;
  }
}

/** Waits for the answers and gives the next segment h', s and what is added to the product. */
export async function takeAhead({ pair, sum, first, second }: Exchange, pass: SegmentPass): Promise<void> {
  const { slots, norm } = pair;
  const { width, epsilon } = norm;
  if (first) addTo(sum, (await first.wait())[0]);
  pass.give(slots.hidden, width).set(sum);
  const factor = pass.give(slots.factor, 1);
  for (let t = 0; t < pass.tokens; t++) factor[t] = inverseRms(sum, t * width, width, epsilon);
  await pass.giveDeltas(slots.delta, pair.second, (targets) => second.wait(targets));
}

/** Nobody will ask how it ends. */
export function dropExchange({ first, second }: Exchange): void {
  first?.wait().catch(() => {});
  second.wait().catch(() => {});
}

/** Finds c_k of a pair, with the segment and the source that give every other product, and tells the source. */
export async function couplePair(
  pair: LoadedPair,
  deltas: DeltaSource,
  lowRank: LowRankSource,
  place: LinearPlace,
): Promise<void> {
  const width = pair.gain.length;
  const basis = lowRank.basisOf(pair.first);
  const rank = basis.length / width;
  const normed = new Float32Array(basis.length);
  for (let i = 0; i < basis.length; i++) normed[i] = pair.gain[i % width] * basis[i];
  const pending = deltas.begin(pair.second, normed, rank);
  try {
    const given = { type: "float32", dims: [1, rank, width], data: normed } as const;
    const results = await pair.session.run({ [pair.names.normed]: given });
    const product = results[pair.names.product].data as Float32Array;
    const { modules, outFeatures } = deltas.groups[pair.second];
    const effects = await pending.wait();
    const out = product.length / rank;
    for (let k = 0; k < rank; k++) {
      const parts = partsOf(place, modules, product.subarray(k * out, (k + 1) * out));
      for (const [i, part] of parts.entries()) {
        addTo(effects[i].subarray(k * outFeatures[i], (k + 1) * outFeatures[i]), part);
      }
    }
    lowRank.couple(pair.first, pair.second, effects);
  } catch (error) {
    pending.wait().catch(() => {});
    throw error;
  }
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
