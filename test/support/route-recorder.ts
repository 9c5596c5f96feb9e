/** Which experts tokens go through: a source of deltas that adds nothing, and remembers what it was asked. */
import { describeDecoder } from "../../src/model/architectures/registry.ts";
import type { AdaptedGroup, DeltaSource, PendingDelta, RoutesTaken } from "../../src/model/delta-source.ts";
import { linearPlaces } from "../../src/model/graph/write-decoder.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";

export class RouteRecorder implements DeltaSource {
  readonly groups: readonly AdaptedGroup[];
  /** By layer with experts and token: their numbers, ascending. */
  readonly #chosen: number[][][] = [];

  constructor(checkpoint: Checkpoint) {
    this.groups = linearPlaces(describeDecoder(checkpoint))
      .filter(({ isRouted, rowsPerToken }) => isRouted && rowsPerToken === 1)
      .map(({ layer, modules, inFeatures, outFeatures }) => ({
        ...{ layer, modules, inFeatures, outFeatures, input: "routed", rowsPerToken: 1 },
      }));
  }

  begin(): PendingDelta {
    throw new TypeError("only experts are recorded");
  }

  /** Of one pass over all tokens. */
  beginRouted(group: number, _: Float32Array, tokens: number, { rows, experts }: RoutesTaken): PendingDelta {
    const chosen = Array.from({ length: tokens }, (): number[] => []);
    for (let route = 0; route < rows.length; route++) chosen[rows[route]].push(experts[route]);
    this.#chosen[group] = chosen.map((list) => list.sort((a, b) => a - b));
    const zeros = new Float32Array(rows.length * this.groups[group].outFeatures[0]);
    return { wait: () => Promise.resolve([zeros]) };
  }

  /** The first token that goes through other experts than in another model, in any layer; Infinity: none does. */
  firstOther(than: RouteRecorder): number {
    const firsts = this.#chosen.map((tokens, group) => {
      const at = tokens.findIndex((list, token) => list.join() !== than.#chosen[group][token].join());
      return at < 0 ? Number.POSITIVE_INFINITY : at;
    });
    return Math.min(Number.POSITIVE_INFINITY, ...firsts);
  }
}
