/**
 * Several sources of deltas on one base model: the model is cut wherever one of them adds to it, once, and each is seen
 * as a source for all of these places. What a source does not adapt, it adds zeros to.
 */

import type {
  AdaptedGroup,
  DeltaSource,
  GroupInput,
  Line,
  LowRankSource,
  PendingDelta,
  RoutesTaken,
} from "../delta-source.ts";
import { type LinearPlace, matchGroups } from "../graph/linear-place.ts";

/** At each place that some source adapts all modules that some source adapts, in the order of the model. */
export function unitedGroups(
  places: readonly LinearPlace[],
  sources: readonly (DeltaSource | undefined)[],
): AdaptedGroup[] {
  const matched = sources.map((source) => ({
    groups: source?.groups ?? [],
    at: matchGroups(places, source),
  }));
  return places.flatMap((place): AdaptedGroup[] => {
    const adapted = new Set(matched.flatMap(({ groups, at }) => groups[at.get(place) ?? -1]?.modules ?? []));
    if (adapted.size === 0) return [];
    const { layer, inFeatures, isEmbedding = false, isRouted = false, rowsPerToken } = place;
    const input = isEmbedding ? "ids" : isRouted ? "routed" : undefined;
    const modules = place.modules.filter((name) => adapted.has(name));
    const outFeatures = modules.map((name) => place.outFeatures[place.modules.indexOf(name)]);
    return [
      {
        layer,
        inFeatures,
        ...(input && { input, ...(rowsPerToken && { rowsPerToken }) }),
        modules,
        outFeatures,
      },
    ];
  });
}

/** Where a source's group stands in a united one. */
interface OwnGroup {
  /** Of the source. */
  readonly group: number;
  /** For each of its modules, the number in the united group. */
  readonly at: readonly number[];
  /** Both have the same modules in the same order. */
  readonly isWhole: boolean;
}

/**
 * A source as one for the united groups. Their numbers are these groups' in `begin`, `basisOf` and the others.
 *
 * @param inner undefined: the base model alone
 */
export class SharedSource implements DeltaSource, LowRankSource {
  readonly groups: readonly AdaptedGroup[];
  readonly lowRank: LowRankSource | undefined;
  readonly #inner: DeltaSource | undefined;
  /** For each united group that of `inner`, and where its modules stand in the united one. */
  readonly #own: readonly (OwnGroup | undefined)[];

  constructor(groups: readonly AdaptedGroup[], inner: DeltaSource | undefined) {
    this.groups = groups;
    this.#inner = inner;
    this.lowRank = inner?.lowRank === undefined ? undefined : this;
    const groupOf = new Map(
      (inner?.groups ?? []).flatMap(({ modules }, group) => modules.map((name) => [name, group] as const)),
    );
    this.#own = groups.map(({ modules }) => {
      const group = modules.map((name) => groupOf.get(name)).find((found) => found !== undefined);
      if (group === undefined) return undefined;
      const at = inner!.groups[group].modules.map((name) => modules.indexOf(name));
      return { group, at, isWhole: at.length === modules.length && at.every((place, i) => place === i) };
    });
  }

  get line(): Line | undefined {
    return this.#inner?.line;
  }

  asks(group: number): boolean {
    return this.#own[group] !== undefined;
  }

  /** Whether the source adapts all modules of a united group. */
  adaptsAll(group: number): boolean {
    return this.#own[group]?.at.length === this.groups[group].modules.length;
  }

  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    const own = this.#own[group];
    const started = own === undefined ? undefined : this.#inner!.begin(own.group, x, tokens);
    return this.#spread(group, tokens, started);
  }

  beginIds(group: number, ids: readonly number[]): PendingDelta {
    const own = this.#own[group];
    const started = own === undefined ? undefined : this.#inner!.beginIds!(own.group, ids);
    return this.#spread(group, ids.length, started);
  }

  beginRouted(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta {
    const own = this.#own[group];
    if (own !== undefined) return this.#inner!.beginRouted!(own.group, x, rows, routes);
    const zeros = new Float32Array(routes.experts.length * this.groups[group].outFeatures[0]);
    return { wait: async () => [zeros] };
  }

  rankOf(group: number): number {
    return this.#inner!.lowRank!.rankOf(this.#ownOf(group).group);
  }

  basisOf(group: number): Float32Array {
    return this.#inner!.lowRank!.basisOf(this.#ownOf(group).group);
  }

  setEffects(first: number, second: number, effects: readonly Float32Array[]): void {
    const { at, group } = this.#ownOf(second);
    const parts = at.map((i) => effects[i]);
    this.#inner!.lowRank!.setEffects(this.#ownOf(first).group, group, parts);
  }

  hasEffects(second: number): boolean {
    const own = this.#own[second];
    return own !== undefined && this.#inner!.lowRank!.hasEffects(own.group);
  }

  beginPair(first: GroupInput, second: GroupInput, tokens: number): readonly [PendingDelta, PendingDelta] {
    const ownInput = ({ group, x }: GroupInput): GroupInput => ({ group: this.#ownOf(group).group, x });
    const pair = this.#inner!.lowRank!.beginPair(ownInput(first), ownInput(second), tokens);
    return [this.#spread(first.group, tokens, pair[0]), this.#spread(second.group, tokens, pair[1])];
  }

  /** The deltas of a united group from those of the source's own one, with zeros where it adapts nothing. */
  #spread(group: number, tokens: number, started: PendingDelta | undefined): PendingDelta {
    const own = this.#own[group];
    if (started !== undefined && own?.isWhole) return started;
    const { outFeatures } = this.groups[group];
    const at = own?.at ?? [];
    return {
      asked: started?.asked,
      drop: () => started?.drop?.(),
      wait: async (targets = outFeatures.map((out) => new Float32Array(tokens * out))) => {
        for (const [i, target] of targets.entries()) if (!at.includes(i)) target.fill(0);
        if (started === undefined) return targets;
        const parts = at.map((i) => targets[i]);
        const deltas = await started.wait(parts);
        for (const [i, part] of parts.entries()) if (deltas[i] !== part) part.set(deltas[i]);
        return targets;
      },
    };
  }

  /** @throws RangeError for a group of which the source adapts nothing */
  #ownOf(group: number): OwnGroup {
    const own = this.#own[group];
    if (own !== undefined) return own;
    throw new RangeError(`the source adapts nothing of group ${group}`);
  }
}
