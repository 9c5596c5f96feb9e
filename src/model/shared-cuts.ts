/**
 * Several sources of deltas on one base model: the model is cut wherever one of them adds to it, once, and each is seen
 * as a source for all of these places. What a source does not adapt, it adds zeros to.
 */

import type { AdaptedGroup, DeltaSource, LowRankSource, PendingDelta } from "./delta-source.ts";
import { type LinearPlace, matchGroups } from "./linear-place.ts";

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
    const { layer, inFeatures } = place;
    const modules = place.modules.filter((name) => adapted.has(name));
    const outFeatures = modules.map((name) => place.outFeatures[place.modules.indexOf(name)]);
    return [{ layer, inFeatures, modules, outFeatures }];
  });
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
  readonly #own: readonly ({ readonly group: number; readonly at: readonly number[] } | undefined)[];

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
      return { group, at: inner!.groups[group].modules.map((name) => modules.indexOf(name)) };
    });
  }

  /** Whether the source adapts all modules of a united group. */
  adaptsAll(group: number): boolean {
    return this.#own[group]?.at.length === this.groups[group].modules.length;
  }

  begin(group: number, x: Float32Array, tokens: number, after?: PendingDelta): PendingDelta {
    const own = this.#own[group];
    const zeros = (): Float32Array[] =>
      this.groups[group].outFeatures.map((out) => new Float32Array(tokens * out));
    if (own === undefined) return { wait: async (targets) => filledWithZeros(targets) ?? zeros() };
    const { at } = own;
    const before = after === undefined ? undefined : ((after as OwnPending).inner ?? after);
    const pending = this.#inner!.begin(own.group, x, tokens, before);
    const wait = async (targets?: readonly Float32Array[]): Promise<readonly Float32Array[]> => {
      const all = targets ?? zeros();
      for (const [i, target] of all.entries()) if (!at.includes(i)) target.fill(0);
      const parts = at.map((i) => all[i]);
      const deltas = await pending.wait(parts);
      for (const [i, part] of parts.entries()) if (deltas[i] !== part) part.set(deltas[i]);
      return all;
    };
    return { inner: pending, wait } as OwnPending;
  }

  basisOf(group: number): Float32Array {
    return this.#inner!.lowRank!.basisOf(this.#groupOf(group));
  }

  couple(first: number, second: number, effects: readonly Float32Array[]): void {
    const { at, group } = this.#own[second]!;
    const parts = at.map((i) => effects[i]);
    this.#inner!.lowRank!.couple(this.#groupOf(first), group, parts);
  }

  isCoupled(second: number): boolean {
    const own = this.#own[second];
    return own !== undefined && this.#inner!.lowRank!.isCoupled(own.group);
  }

  #groupOf(group: number): number {
    const own = this.#own[group];
    if (own === undefined) throw new RangeError(`the source adapts nothing of group ${group}`);
    return own.group;
  }
}

interface OwnPending extends PendingDelta {
  /** What the source itself gave. */
  readonly inner: PendingDelta;
}

function filledWithZeros(targets: readonly Float32Array[] | undefined): typeof targets {
  for (const target of targets ?? []) target.fill(0);
  return targets;
}
