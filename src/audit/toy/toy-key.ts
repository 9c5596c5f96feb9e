/**
 * Keys so short that lattice reduction finishes what queries began. The provider's layer is the real one, its parameter
 * set `insecure…`. Attacked are H, which needs nothing of W, and B where W is known or cancels.
 */
import { ProviderLayer } from "../../pll/provider-layer.ts";
import { Kernels } from "../../ring/kernels.ts";
import type { RandomSource } from "../../ring/random-source.ts";
import { BufferPool } from "../../rlwe/buffer-pool.ts";
import { insecureParameters } from "../../rlwe/insecure-parameters.ts";
import { type Parameters, uniformStddev } from "../../rlwe/parameter-set.ts";
import { PublicElements } from "../../rlwe/public-elements.ts";
import type { GroupView } from "../group-view.ts";
import { hintRow, readSecret, weightRow } from "../key-queries.ts";
import { Oracle } from "../oracle.ts";
import { gaussians, randomBytes } from "../random-numbers.ts";
import type { StolenKey } from "../stolen-key.ts";
import { attackSmallLwe, type SmallLwe, trimSamples } from "./lattice-attack.ts";

/** S of 11 bits, errors of 16: as wide as can be, since dimensions are few. Two entries of S a reply. */
export const TOY_PARAMETERS: Parameters = insecureParameters({
  keyLength: 112,
  secretBits: 11,
  weightErrorBits: 16,
  hintErrorBits: 16,
  replyBits: 22,
  rowNorm: 2 ** 26,
});
/** S, E and E_H as wide as the product's. */
export const TOY_REAL_ERRORS: Parameters = insecureParameters({ keyLength: 48 });

/** Weights of the one row. */
const WIDTH = 64;
/** Samples that lattice reduction is given at most: more take minutes. */
const MOST_SAMPLES = 40;

export interface ToyKey {
  readonly parameters: Parameters;
  readonly bundleId: Uint8Array;
  readonly weights: Int32Array;
  readonly key: StolenKey;
  /** S, its last entries: those that queries have read. */
  readonly read: Int32Array;
  /** S, for scoring alone. */
  readonly secret: Int32Array;
}

export interface ToyLayer {
  readonly kernels: Kernels;
  readonly parameters: Parameters;
  readonly bundleId: Uint8Array;
  readonly weights: Int32Array;
  readonly layer: ProviderLayer;
}

export function toyLayer(parameters: Parameters, random: RandomSource): ToyLayer {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const bundleId = randomBytes(random, 16);
  const stddev = parameters.rowNorm / Math.sqrt(WIDTH) / 4;
  const weights = Int32Array.from(gaussians(random, WIDTH), (value) => Math.round(stddev * value));
  const elements = new PublicElements(kernels, pool, bundleId);
  const layer = new ProviderLayer(kernels, pool, elements, {
    parameters,
    rows: 1,
    inFeatures: WIDTH,
    weights,
  });
  return { kernels, parameters, bundleId, weights, layer };
}

/** A new key of a layer, of which so many vectors have read S, from its end. */
export async function usedKey(toy: ToyLayer, vectors: number, random: RandomSource): Promise<ToyKey> {
  const { parameters, bundleId, layer } = toy;
  const seed = randomBytes(random, 32);
  const secret = layer.deriveSecret(seed);
  const oracle = new Oracle(viewOf(toy), {
    fetchKey: async () => ({
      id: new Uint8Array(16),
      vectorsLeft: vectors,
      groups: [layer.encryptWeights(seed)],
      signature: new Uint8Array(64),
    }),
    query: async (_group, count, ciphertext) => ({
      words: layer.answerQuery(secret, ciphertext, count),
      providerMs: 0,
    }),
  });
  const key = await oracle.fetchKey();
  const { keyLength } = parameters;
  const places = Array.from({ length: 2 * vectors }, (_, i) => keyLength - 2 * vectors + i);
  const read = vectors === 0 ? new Int32Array(0) : await readSecret(oracle, key, places);
  const truth = Int32Array.from(toy.kernels.shorts(secret, keyLength));
  layer.releaseSecret(secret);
  return { parameters, bundleId, weights: toy.weights, key, read, secret: truth };
}

/** LWE that is left: the entries of S that were not read, with H's words as samples. */
export function hintLwe(toy: ToyKey): SmallLwe {
  const { key, parameters, bundleId } = toy;
  const rows = (i: number) => hintRow(bundleId, i, parameters.keyLength);
  return lwe(toy, rows, (i) => key.hint[i], uniformStddev(parameters.hintErrorBits));
}

/** The same with B's, W being known. */
export function knownWeightsLwe(toy: ToyKey): SmallLwe {
  const { key, parameters, bundleId, weights } = toy;
  const rows = (i: number) => weightRow(bundleId, i, parameters.keyLength);
  return lwe(toy, rows, (i) => key.weights[i] - weights[i], uniformStddev(parameters.weightErrorBits));
}

/** B − B̃ of two keys, read at the same places: LWE under S − S̃. */
export function differenceLwe(one: ToyKey, two: ToyKey): SmallLwe {
  const { parameters, bundleId } = one;
  const difference = { ...one, read: one.read.map((value, i) => value - two.read[i]) };
  const rows = (i: number) => weightRow(bundleId, i, parameters.keyLength);
  const words = (i: number) => one.key.weights[i] - two.key.weights[i];
  const error = Math.SQRT2 * uniformStddev(parameters.weightErrorBits);
  const { secretStddev, ...rest } = lwe(difference, rows, words, error);
  return { ...rest, secretStddev: Math.SQRT2 * secretStddev };
}

function lwe(
  { parameters, read }: Pick<ToyKey, "parameters" | "read">,
  row: (i: number) => Uint32Array,
  word: (i: number) => number,
  errorStddev: number,
): SmallLwe {
  const dimension = parameters.keyLength - read.length;
  const matrix = new Uint32Array(dimension * MOST_SAMPLES);
  const words = new Uint32Array(MOST_SAMPLES);
  for (let i = 0; i < MOST_SAMPLES; i++) {
    const values = row(i);
    for (let j = 0; j < dimension; j++) matrix[j * MOST_SAMPLES + i] = values[j];
    let rest = word(i);
    for (const [j, value] of read.entries()) rest -= Math.imul(values[dimension + j], value);
    words[i] = rest;
  }
  const secretStddev = uniformStddev(parameters.secretBits);
  return { matrix, dimension, samples: MOST_SAMPLES, words, secretStddev, errorStddev };
}

/** What lattice reduction finds of the entries that were not read. */
export function solve(instance: SmallLwe): Int32Array | undefined {
  return attackSmallLwe(trimSamples(instance)).secret;
}

/** Share of the entries that were not read that are right. A wrong secret may explain a few samples, too. */
export function rightShare(found: Int32Array | undefined, secret: Int32Array): number {
  return found === undefined ? 0 : found.filter((value, j) => value === secret[j]).length / found.length;
}

/** Share of W that comes out to within E once S is known: W + E = B − M·S. */
export function openedShare(toy: ToyKey, found: Int32Array | undefined): number {
  if (found === undefined) return 0;
  const { key, parameters, bundleId, weights, read } = toy;
  let right = 0;
  for (const [i, weight] of weights.entries()) {
    const row = weightRow(bundleId, i, parameters.keyLength);
    let value = key.weights[i];
    for (const [j, entry] of row.entries()) {
      const secret = j < found.length ? found[j] : read[j - found.length];
      value = (value - Math.imul(entry, secret)) | 0;
    }
    if (Math.abs(value - weight) <= 2 ** parameters.weightErrorBits) right++;
  }
  return right / weights.length;
}

/** What a thief knows of a toy. */
function viewOf({ parameters, bundleId }: ToyLayer): GroupView {
  const module = { name: "toy", outFeatures: 1, rows: 1 };
  return {
    index: 0,
    parameters,
    bundleId,
    spec: { layer: 0, inFeatures: WIDTH, modules: [module] },
    tensors: { scales: Float64Array.of(1), bases: [Float32Array.of(1)] },
    inFeatures: WIDTH,
    rows: 1,
    weightStddev: parameters.rowNorm / Math.sqrt(WIDTH),
    knownWithin: 2 ** parameters.weightErrorBits,
    weightEntropy: 1,
    functionQueries: WIDTH,
  };
}
