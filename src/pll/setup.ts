/**
 * Setup of a private linear layer, once per adapter version, at the provider:
 *   H = [W | P]·C + E mod 2^32,   P uniform in [low, high]^(R × n_pad),   E rounded Gaussian.
 * P is an LWE secret of dimension n_pad, so H is indistinguishable from uniform whatever W is. H is published,
 * its top `hintBits` bits of each word; W and P stay with the provider; E is forgotten (docs/security.md, *The hint*).
 */
import { assertInteger, assertLength } from "../base/assert.ts";
import { bytesOf, utf8 } from "../base/bytes.ts";
import { type Kernels, type PublicElement, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import type { RandomSource } from "../ring/random-source.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { at } from "../rlwe/mask-source.ts";
import {
  assertKernelParameters,
  type Layout,
  layoutOf,
  type Parameters,
  weightBits,
} from "../rlwe/parameters.ts";
import { SecretSampler } from "./secret-sampler.ts";

export interface SetupInput {
  readonly parameters: Parameters;
  /** The public elements of the layer's layout (rlwe/public-elements.ts). */
  readonly elements: readonly PublicElement[];
  /** W, (rows, n) row-major, weightBits(parameters, n)-bit integers. */
  readonly weights: Int16Array;
  readonly rows: number;
  readonly inFeatures: number;
  /** What else the hint's secrets must be bound to: adapter, bundle id, group. */
  readonly context: readonly Uint8Array[];
}

export interface SetupResult {
  /** P, (rows, n_pad) row-major. Secret. */
  readonly padding: Int16Array;
  /** Top hintBits bits of H, (rows, N), each row a little-endian bit stream. Public. */
  readonly hint: Uint8Array;
}

/** @throws RangeError on wrong lengths and on weights of too many bits */
export function setup(
  kernels: Kernels,
  pool: BufferPool,
  input: SetupInput,
  random: RandomSource,
): SetupResult {
  const { parameters, elements, weights, rows, inFeatures } = input;
  assertInteger(rows, "rows", 1, 1 << 20);
  assertLength(weights, "weights", rows * inFeatures);
  const layout = layoutOf(assertKernelParameters(parameters), inFeatures);
  assertLength(elements, "elements", layout.blocks.length);
  const limit = 2 ** (weightBits(parameters, inFeatures) - 1);
  if (weights.some((weight) => Math.abs(weight) > limit)) throw new RangeError("a weight has too many bits");

  const shape = new Uint8Array(new Uint32Array([rows, inFeatures]).buffer);
  const sampler = new SecretSampler(random, "hint", [
    utf8(JSON.stringify(parameters)),
    ...input.context,
    shape,
    bytesOf(weights),
  ]);
  const { paddingLength, paddingLow, paddingHigh } = parameters;
  const padding = sampler.uniformIntegers(rows * paddingLength, paddingLow, paddingHigh);

  const hint = accumulateHint(kernels, pool, input, layout, padding, sampler);
  sampler.wipe();
  return { padding, hint };
}

/** Top bits of [W | P]·C + E. One public element at a time, all rows: the kernels prepare each element once. */
function accumulateHint(
  kernels: Kernels,
  pool: BufferPool,
  { parameters, elements, weights, rows, inFeatures }: SetupInput,
  layout: Layout,
  padding: Int16Array,
  sampler: SecretSampler,
): Uint8Array {
  const { paddingLength, paddingLow, paddingHigh, hintErrorStddev, hintBits } = parameters;
  const sumBytes = 4 * rows * RING_DEGREE;
  const sums = pool.acquire(sumBytes);
  const errors = kernels.words(sums, rows * RING_DEGREE);
  for (let i = 0; i < errors.length; i++) errors[i] = sampler.roundedGaussian(hintErrorStddev);

  const bits = Math.max(weightBits(parameters, inFeatures), bitsOf(paddingLow, paddingHigh));
  const part = pool.acquire(2 * RING_DEGREE);
  const row = new Int16Array(layout.words);
  for (const [i, block] of layout.blocks.entries()) {
    for (let r = 0; r < rows; r++) {
      row.set(weights.subarray(r * inFeatures, (r + 1) * inFeatures));
      row.set(padding.subarray(r * paddingLength, (r + 1) * paddingLength), inFeatures);
      kernels.shorts(part, block.length).set(row.subarray(block.offset, block.offset + block.length));
      kernels.transposedProduct(elements[i], part, block.length, bits, at(sums, 4 * r * RING_DEGREE));
    }
  }

  const rowBytes = packedBytes(RING_DEGREE, hintBits);
  const hint = new Uint8Array(rows * rowBytes);
  const packed = pool.acquire(rowBytes);
  for (let r = 0; r < rows; r++) {
    kernels.packTop(at(sums, 4 * r * RING_DEGREE), RING_DEGREE, hintBits, packed);
    hint.set(kernels.bytes(packed, rowBytes), r * rowBytes);
  }
  row.fill(0);
  pool.release(part, 2 * RING_DEGREE);
  pool.release(packed, rowBytes);
  pool.release(sums, sumBytes);
  kernels.wipeScratch();
  return hint;
}

/** Bits of a signed integer that holds [low, high] with |x| ≤ 2^(bits-1). */
function bitsOf(low: number, high: number): number {
  return Math.ceil(Math.log2(Math.max(-low, high))) + 1;
}
