/**
 * The lattice vector closest to a target, by enumeration (Schnorr, Euchner 1994; Agrell et al., "Closest point search
 * in lattices", 2002) on a reduced basis. Exponential in the dimension; 40 and fewer are fast.
 */
import type { GramSchmidt } from "./lll.ts";

/**
 * @param basis reduced rows
 * @param most nodes to visit; the best vector so far is returned then
 * @returns target − closest: the short rest
 */
export function closestRest(
  basis: readonly Float64Array[],
  { mu, norms }: GramSchmidt,
  target: Float64Array,
  most = 4_000_000,
): Float64Array {
  const d = basis.length;
  const centers = targetCoefficients(basis, mu, norms, target);
  const x = new Float64Array(d);
  const step = new Float64Array(d);
  const center = new Float64Array(d);
  /** Squared distance that levels above i have used up. */
  const used = new Float64Array(d + 1);
  const best = new Float64Array(d);
  let radius = Number.POSITIVE_INFINITY;
  const enter = (i: number): void => {
    // centre at level i, given x above: c_i = t_i − Σ_{j>i} (x_j − t_j)·mu_ji
    let c = centers[i];
    for (let j = i + 1; j < d; j++) c -= (x[j] - centers[j]) * mu[j][i];
    center[i] = c;
    x[i] = Math.round(c);
    step[i] = x[i] < c ? 1 : -1;
  };
  let i = d - 1;
  enter(i);
  for (let nodes = 0; nodes < most; nodes++) {
    const distance = used[i + 1] + (x[i] - center[i]) ** 2 * norms[i];
    if (distance < radius) {
      if (i === 0) {
        radius = distance;
        best.set(x);
      } else {
        used[i] = distance;
        enter(--i);
        continue;
      }
    } else {
      if (++i === d) break;
    }
    // the next nearest integer at this level: +1, −2, +3, …
    x[i] += step[i];
    step[i] = step[i] > 0 ? -step[i] - 1 : -step[i] + 1;
  }
  const rest = Float64Array.from(target);
  for (let row = 0; row < d; row++) {
    for (let j = 0; j < rest.length; j++) rest[j] -= best[row] * basis[row][j];
  }
  return rest;
}

/** The target in Gram–Schmidt coordinates, turned into real coefficients of the basis: t = Σ c_i·b_i. */
function targetCoefficients(
  basis: readonly Float64Array[],
  mu: readonly Float64Array[],
  norms: Float64Array,
  target: Float64Array,
): Float64Array {
  const d = basis.length;
  const projections = new Float64Array(d);
  for (let i = 0; i < d; i++) {
    // ⟨t, b*_i⟩ = ⟨t, b_i⟩ − Σ_{j<i} mu_ij·⟨t, b*_j⟩
    let product = 0;
    for (let k = 0; k < target.length; k++) product += target[k] * basis[i][k];
    for (let j = 0; j < i; j++) product -= mu[i][j] * projections[j] * norms[j];
    projections[i] = product / norms[i];
  }
  const coefficients = projections;
  for (let i = d - 1; i >= 0; i--) {
    for (let j = i + 1; j < d; j++) coefficients[i] -= coefficients[j] * mu[j][i];
  }
  return coefficients;
}
