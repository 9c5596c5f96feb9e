/**
 * log2 of the relative error of results as src/pll/precision.test.ts measures it: by width, Gaussian W and x, r = 8.
 * Stands in docs/parameters.md beside the prediction.
 */
export const MEASURED_PRECISION: ReadonlyMap<number, number> = new Map([
  [256, -9.17],
  [704, -8.33],
  [896, -8.19],
  [2048, -7.45],
  [4096, -6.96],
  [8192, -6.6],
  [13_696, -6.16],
]);
