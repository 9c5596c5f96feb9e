/** Sources of deltas that are asked through another one. */
import type { LowRankSource } from "../../src/model/delta-source.ts";

/** What a source says of its low rank, with pairs that are asked otherwise. */
export function lowRankWith(inner: LowRankSource, beginPair: LowRankSource["beginPair"]): LowRankSource {
  return {
    rankOf: (group) => inner.rankOf(group),
    basisOf: (group) => inner.basisOf(group),
    setEffects: (first, second, effects) => inner.setEffects(first, second, effects),
    hasEffects: (second) => inner.hasEffects(second),
    beginPair,
  };
}
