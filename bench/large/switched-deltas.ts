// One loaded base model for two sources of deltas: they are cut at the same groups, so the same segments run.
import type { AdaptedGroup, DeltaSource, LowRankSource, PendingDelta } from "../../src/model/delta-source.ts";

export class SwitchedDeltas<Name extends string> implements DeltaSource {
  readonly groups: readonly AdaptedGroup[];
  readonly #sources: Readonly<Record<Name, DeltaSource>>;
  /** Who is asked from now on. */
  active: Name;

  /** @throws RangeError unless all sources have the same groups */
  constructor(sources: Readonly<Record<Name, DeltaSource>>, active: Name) {
    this.#sources = sources;
    this.active = active;
    this.groups = sources[active].groups;
    for (const source of Object.values<DeltaSource>(sources)) {
      if (JSON.stringify(source.groups) !== JSON.stringify(this.groups))
        throw new RangeError("the sources are cut at different groups");
    }
  }

  get lowRank(): LowRankSource | undefined {
    return this.#sources[this.active].lowRank;
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    return this.#sources[this.active].begin(group, x, tokens);
  }
}
