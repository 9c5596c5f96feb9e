/** Adapters of experts: PEFT keeps the pairs of all experts of a parameter in two matrices. */

import type { LoraModule } from "../../weights/lora-adapter.ts";
import { expertsPlace } from "../graph/linear-place.ts";

/**
 * A module for each expert, by the names of `expertsPlace`, others as they are. Of E experts with rank r, rows
 * e·r … e·r + r - 1 of A and columns e, E + e, … of B are those of expert e.
 * Source: PEFT `src/peft/tuners/lora/layer.py`, ParamWrapper.get_delta_weight.
 */
export function expertModules(modules: ReadonlyMap<string, LoraModule>): ReadonlyMap<string, LoraModule> {
  return new Map(
    [...modules].flatMap(([name, module]): [string, LoraModule][] => {
      const { experts, ...joined } = module;
      if (experts === undefined) return [[name, module]];
      const { rank: all, a, b, inFeatures, outFeatures } = joined;
      const rank = all / experts;
      const names = expertsPlace(0, name, experts, [inFeatures, outFeatures]).modules;
      return names.map((name, expert) => {
        const columns = Float32Array.from(
          { length: outFeatures * rank },
          (_, i) => b[Math.floor(i / rank) * all + (i % rank) * experts + expert],
        );
        const rows = a.subarray(expert * rank * inFeatures, (expert + 1) * rank * inFeatures);
        return [name, { ...joined, name, rank, a: rows, b: columns }];
      });
    }),
  );
}
