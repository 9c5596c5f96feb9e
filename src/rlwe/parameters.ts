/**
 * The parameters of the private linear layer: a plain literal becomes {@link Parameters} through one checking
 * constructor. docs/parameters.md derives every number.
 */
import { assertInteger } from "../base/assert.ts";
import { RING_DEGREE } from "../ring/constants.ts";
import { checkSecurity } from "./parameter-security.ts";
import { checkParameterRanges, type Parameters, type ParametersLiteral } from "./parameter-set.ts";

export type { Parameters, ParametersLiteral };

/**
 * The literal, checked and frozen.
 *
 * Refuses what the engine cannot compute, less than 128 bits of security (docs/parameters.md §Security), of a key that
 * is worn out too, and a modulus above the published tables. Unknown fields are dropped.
 *
 * @throws TacetError bad_argument, naming the field
 */
export function createParameters(literal: ParametersLiteral): Parameters {
  const parameters = checkParameterRanges(literal);
  checkSecurity(parameters);
  return parameters;
}

/** 128-bit set for every layer width; the only one that bundles use. */
export const DEFAULT_PARAMETERS: Parameters = createParameters({
  name: "tacet-2048-32-k1456-240",
  ringDegree: 2048,
  logQ: 32,
  errorEta: 21,
  keyLength: 1456,
  secretBits: 7,
  weightErrorBits: 7,
  hintErrorBits: 10,
  rowNorm: 2 ** 19,
  weightBits: 27,
  hintBits: 24,
  uploadBits: 25,
  replyBits: 14,
  vectorsPerKey: 240,
});

/** Factor by which |u| stays below q/2: the scale is c = (q/2)/(HEADROOM·R·‖x‖₂), rounding and noise included. */
export const HEADROOM = 1.05;

/** Standard deviation of one coefficient of the user's error e: sqrt(eta/2). */
export function errorStddev(p: Parameters): number {
  return Math.sqrt(p.errorEta / 2);
}

/** CBD(eta) that the kernels sample. */
const KERNEL_ETA = 21;
/** Kernels work on whole vector registers of words and small integers. */
const LANES = 16;

/**
 * The parameters, if the compiled kernels implement them: they are built for one ring and one error.
 *
 * @throws RangeError if not
 */
export function assertKernelParameters(p: Parameters): Parameters {
  if (p.ringDegree !== RING_DEGREE || p.errorEta !== KERNEL_ETA || p.keyLength % LANES !== 0) {
    throw new RangeError(
      `the kernels have N = ${RING_DEGREE}, CBD(${KERNEL_ETA}) and a key length that is a multiple of ${LANES}, not those of ${p.name}`,
    );
  }
  return p;
}

/** Widest layer: ‖x̂‖₂ ≤ ‖c·x‖₂ + √n/2 stays below 2^13.5, for which products are made (ring/kernels.ts). */
export const MAX_IN_FEATURES = 1 << 19;

/**
 * kappa = ⌈n/N⌉: public elements that a layer's n inputs take.
 *
 * @throws RangeError unless n is an integer in [1, 2^19]
 */
export function weightBlocks(n: number): number {
  assertInteger(n, "inFeatures", 1, MAX_IN_FEATURES);
  return Math.ceil(n / RING_DEGREE);
}

/** n rounded up to whole vector registers. */
export function paddedLength(n: number): number {
  return Math.ceil(n / LANES) * LANES;
}
