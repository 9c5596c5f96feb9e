/**
 * From the rows that a reply gives to each module's delta: delta_i = B′_i·y_i. y (tokens, rows) row-major, the modules'
 * rows one after another; delta_i (tokens, outFeatures).
 */
import type { BundleModule } from "../bundle/manifest.ts";
import type { RoutesTaken } from "../model/delta-source.ts";
import type { PublicBasis } from "../pll/public-basis.ts";

/** What another group's rows add: one basis for each module, and y (tokens, rows of one basis) row-major. */
export interface Addition {
  readonly bases: readonly PublicBasis[];
  readonly y: Float32Array;
}

/**
 * @param bases one for each module
 * @param targets memory for the deltas
 * @returns targets
 */
export function applyBasis(
  modules: readonly BundleModule[],
  bases: readonly PublicBasis[],
  y: Float32Array,
  tokens: number,
  rows: number,
  targets: readonly Float32Array[],
  addition?: Addition,
): readonly Float32Array[] {
  let offset = 0;
  try {
    for (const [i, { rows: count }] of modules.entries()) {
      const more = addition && {
        basis: addition.bases[i],
        y: addition.y,
        stride: addition.y.length / tokens,
      };
      bases[i].apply({ y: y.subarray(offset), stride: rows }, targets[i], tokens, more);
      offset += count;
    }
    return targets;
  } finally {
    for (const basis of bases) basis.wipe();
    for (const basis of addition?.bases ?? []) basis.wipe();
  }
}

/**
 * delta of each route: B′_e·y of its expert e and of its vector, (routes, outFeatures).
 *
 * @param modules the experts: all have as many outputs
 * @param y (vectors, rows)
 */
export function applyRouted(
  modules: readonly BundleModule[],
  bases: readonly PublicBasis[],
  y: Float32Array,
  rows: number,
  { rows: vectors, experts }: RoutesTaken,
): Float32Array {
  const [{ outFeatures }] = modules;
  const firstRows: number[] = [];
  let next = 0;
  for (const module of modules) {
    firstRows.push(next);
    next += module.rows;
  }
  const out = new Float32Array(experts.length * outFeatures);
  try {
    for (let route = 0; route < experts.length; route++) {
      const expert = experts[route];
      const at = vectors[route] * rows + firstRows[expert];
      const part = y.subarray(at, at + modules[expert].rows);
      bases[expert].apply(part, out.subarray(route * outFeatures, (route + 1) * outFeatures));
    }
    return out;
  } finally {
    for (const basis of bases) basis.wipe();
  }
}
