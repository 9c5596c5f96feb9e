/** What a base model is known by, to bundles and providers. */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { fingerprintCheckpoint, fingerprintVectors } from "../weights/fingerprint.ts";
import type { StoredTensor } from "../weights/safetensors.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { linearPlaces } from "./graph/write-decoder.ts";
import { passDemand } from "./pass-demand.ts";

export interface BaseIdentity {
  /** SHA-256 of what it is known by. */
  readonly fingerprint: Uint8Array;
  /**
   * "weights": it is an original, and known by all that it has. "vectors": it is a quantized copy, and known by what
   * such copies keep: norms, biases and sizes (weights/fingerprint.ts).
   */
  readonly knownBy: "weights" | "vectors";
  /** How a copy is stored. */
  readonly storedAs?: string;
}

/** @throws TacetError unsupported_model, bad_checkpoint */
export async function baseIdentity(checkpoint: Checkpoint): Promise<BaseIdentity> {
  const { storedAs } = checkpoint;
  return storedAs === undefined
    ? { fingerprint: await fingerprintCheckpoint(checkpoint), knownBy: "weights" }
    : { fingerprint: await vectorsFingerprint(checkpoint), knownBy: "vectors", storedAs };
}

/**
 * The fingerprint that a checkpoint has in common with its quantized copies.
 *
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export async function vectorsFingerprint(checkpoint: Checkpoint): Promise<Uint8Array> {
  const decoder = describeDecoder(checkpoint);
  const { layers, hiddenSize, heads, vocabSize } = decoder;
  const places = linearPlaces(decoder).map(({ modules, inFeatures, outFeatures }) => ({
    modules,
    inFeatures,
    outFeatures,
  }));
  // What a pass uses, not what the file has: copies leave out, or add, what no pass reads.
  const { tensors } = passDemand(checkpoint, "original");
  const vectors = tensors.filter(({ info }) => info.shape.length === 1);
  const named = new Map(vectors.map((vector): [string, StoredTensor] => [vector.info.name, vector]));
  return await fingerprintVectors({ layers, hiddenSize, heads, vocabSize, places }, named);
}
