/**
 * The parameters of the private linear layer: a plain literal becomes {@link Parameters} through one checking
 * constructor. docs/parameters.md derives every number.
 */
import { assertInteger } from "../base/assert.ts";
import { RING_DEGREE } from "../ring/constants.ts";
import { checkParameterRanges } from "./parameter-ranges.ts";
import { checkSecurity } from "./parameter-security.ts";
import type { Parameters, ParametersLiteral } from "./parameter-set.ts";

export type { Parameters, ParametersLiteral };

/**
 * The literal, checked and frozen.
 *
 * Refuses what the engine cannot compute, less than 128 bits of security (docs/parameters.md §Security) and a
 * modulus above the published tables. Unknown fields are dropped.
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
  name: "tacet-2048-32",
  ringDegree: 2048,
  logQ: 32,
  errorEta: 21,
  paddingLength: 1024,
  paddingLow: -255,
  paddingHigh: 256,
  hintErrorStddev: 256,
  weightBits: 10,
  hintBits: 24,
});

/** Factor by which |u| stays below q/2: the scale is S = (q/2)/(HEADROOM·Rmax·‖x‖₂), noise included. */
export const HEADROOM = 1.02;

/** Standard deviation of one coefficient of the user's error e: sqrt(eta/2). */
export function errorStddev(p: Parameters): number {
  return Math.sqrt(p.errorEta / 2);
}

/** Standard deviation of one entry of P, uniform over k = high - low + 1 integers: sqrt((k² - 1)/12). */
export function paddingStddev(p: ParametersLiteral): number {
  const k = p.paddingHigh - p.paddingLow + 1;
  return Math.sqrt((k * k - 1) / 12);
}

/** Bits in one entry of P: log2(high - low + 1). */
export function paddingEntropy(p: ParametersLiteral): number {
  return Math.log2(p.paddingHigh - p.paddingLow + 1);
}

/** Largest row norm over root-mean-square row norm, as measured after a random rotation. */
const ROW_NORM_SPREAD = 1.06;
/** The narrowest layer whose precision was measured; narrower ones round no coarser. */
const NARROWEST_MEASURED = 256;

/** Layers up to these widths have noise to spare: two weight bits and three reply bits more, one and one more. */
const NARROW = 1024;
const MIDDLE = 4096;

/**
 * w: weights are integers in [-(2^(w-1) - 1), 2^(w-1) - 1]. 12 up to n = 1024, 11 up to 4096, 10 above, where W·e
 * grows faster than the quantisation error shrinks (docs/parameters.md §Weights).
 */
export function weightBits(p: Parameters, n: number): number {
  if (n <= NARROW) return p.weightBits + 2;
  return n <= MIDDLE ? p.weightBits + 1 : p.weightBits;
}

/**
 * b0: top bits of each reply word that leave the provider. 7 + round(log2(2.04·1.06·sqrt(n))) makes the rounding
 * error about 2^-8.8 of a typical |u| = q/(2.04·1.06·sqrt(n)) at every n; narrow layers send 3 bits more, middle
 * ones 1 more, which with their wider weights leaves a thief as many queries (docs/parameters.md §Replies).
 * 15/16/15/15/15 at n = 256/896/2048/4096/13696.
 */
export function replyBits(p: Parameters, n: number): number {
  const width = Math.max(n, NARROWEST_MEASURED);
  const spread = Math.log2(2 * HEADROOM * ROW_NORM_SPREAD * Math.sqrt(width));
  if (n <= NARROW) return Math.min(10 + Math.round(spread), p.logQ);
  return Math.min(n <= MIDDLE ? 8 + Math.round(spread) : 7 + Math.ceil(spread), p.logQ);
}

/**
 * Top bits of each query word that are sent. The rounding adds W·e_up to the noise, 0.15 bit of the result at most
 * at this width. Any width is safe: it drops bits of a ciphertext.
 */
export function uploadBits(p: Parameters): number {
  return p.logQ - 2;
}

/** CBD(eta) that the kernels sample. */
const KERNEL_ETA = 21;

/**
 * The parameters, if the compiled kernels implement them: they are built for one ring and one error.
 *
 * @throws RangeError if not
 */
export function assertKernelParameters(p: Parameters): Parameters {
  if (p.ringDegree !== RING_DEGREE || p.errorEta !== KERNEL_ETA) {
    throw new RangeError(
      `the kernels have N = ${RING_DEGREE} and CBD(${KERNEL_ETA}), not those of ${p.name}`,
    );
  }
  return p;
}

/** kappa = ⌈n/N⌉: public elements that mask the n data words. */
export function dataBlocks(p: Parameters, n: number): number {
  return Math.ceil(n / p.ringDegree);
}

/** Widest layer: 2^20 inputs. */
const MAX_IN_FEATURES = 1 << 20;

/** Query words [offset, offset + length) are the first `length` coefficients of a·s for one public element a. */
export interface LayoutBlock {
  /** Domain from which the public element is expanded. A data block may also carry the padding words. */
  readonly kind: "data" | "padding";
  /** Position in {@link Layout.blocks}. */
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

/** The words of a query, v = [data | padding]. */
export interface Layout {
  /** n: data words. */
  readonly inFeatures: number;
  /** First padding word: always n. */
  readonly paddingOffset: number;
  /** n + n_pad. */
  readonly words: number;
  readonly blocks: readonly LayoutBlock[];
}

/**
 * ⌈n/N⌉ data blocks; the padding follows the data in the last one if n_pad coefficients are free there, and has a
 * block and a separate public element if not.
 *
 * Sharing the element changes nothing for the attacker: the same LWE instance, one polynomial product less.
 * (docs/parameters.md §Padding)
 *
 * @throws RangeError unless n is an integer in [1, 2^20]
 */
export function layoutOf(p: Parameters, n: number): Layout {
  assertInteger(n, "inFeatures", 1, MAX_IN_FEATURES);
  const { ringDegree, paddingLength } = p;
  const count = dataBlocks(p, n);
  const shared = count * ringDegree - n >= paddingLength;
  const words = n + paddingLength;
  const dataEnd = shared ? words : n;
  const blocks = Array.from({ length: count }, (_, index): LayoutBlock => {
    const offset = index * ringDegree;
    return Object.freeze({ kind: "data", index, offset, length: Math.min(ringDegree, dataEnd - offset) });
  });
  if (!shared) {
    blocks.push(Object.freeze({ kind: "padding", index: count, offset: n, length: paddingLength }));
  }
  return Object.freeze({ inFeatures: n, paddingOffset: n, words, blocks: Object.freeze(blocks) });
}
