/** Tails of distributions: Student's t, for errors whose standard deviation is estimated from a few samples, Poisson's, Gauss's. */

/**
 * P(T > t) for an even number of degrees of freedom (Abramowitz and Stegun, 26.7.4); exact to about 1e-15.
 *
 * @throws RangeError for an odd number
 */
export function studentTail(t: number, freedom: number): number {
  if (freedom % 2 !== 0 || freedom < 2) throw new RangeError("degrees of freedom must be even");
  const sine = t / Math.sqrt(freedom + t * t);
  const squaredCosine = freedom / (freedom + t * t);
  let [term, sum] = [1, 1];
  for (let k = 1; k < freedom / 2; k++) {
    term *= ((2 * k - 1) / (2 * k)) * squaredCosine;
    sum += term;
  }
  // Rounding may take it below zero far out.
  return Math.max(0, (1 - sine * sum) / 2);
}

/** The t that is exceeded with this probability. */
export function studentQuantile(tail: number, freedom: number): number {
  let [low, high] = [0, 1e4];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (studentTail(middle, freedom) > tail) low = middle;
    else high = middle;
  }
  return high;
}

/** The least k with P(X > k) < tail, X Poisson distributed. */
export function poissonQuantile(mean: number, tail: number): number {
  // From far out inwards: small numbers first, so that nothing is lost.
  let above = 0;
  for (let k = 200 + 3 * Math.ceil(mean); k >= 0; k--) {
    let log = -mean;
    for (let i = 1; i <= k; i++) log += Math.log(mean / i);
    above += Math.exp(log);
    if (above >= tail) return k;
  }
  return 0;
}

/** P(X > x), X a Gaussian number of variance 1: the series about 0, the continued fraction (Laplace) further out; x ≥ 0. */
export function normalTail(x: number): number {
  const density = Math.exp(-(x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (x > 3) {
    let fraction = x;
    for (let k = 60; k > 0; k--) fraction = x + k / fraction;
    return density / fraction;
  }
  let [term, sum] = [x, x];
  for (let k = 1; k < 60; k++) {
    term *= (x * x) / (2 * k + 1);
    sum += term;
  }
  return 0.5 - density * sum;
}
