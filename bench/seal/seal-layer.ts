// What every SEAL variant of the layer offers, so that one table can time and check them all.
import type { CipherText, SEALLibrary, Serializable } from "./load-seal.ts";

/**
 * y = B(A·x) with x encrypted: encrypt → (upload) → evaluate → (reply) → decrypt.
 * The stages keep their working ciphertexts, so that nothing is allocated while timing.
 */
export interface SealLayer {
  readonly name: string;
  /** Ring degree, limbs, packing. */
  readonly parameters: string;
  /** Homomorphic operations one evaluation takes. */
  readonly operations: string;
  /** Bytes of the client's evaluation keys, sent once and kept by the provider; 0 without rotations. */
  readonly keyBytes: number;
  /** Client: encodes and encrypts x, seeded, symmetric. The caller deletes the messages. */
  encrypt(x: Float64Array): Serializable[];
  /** Provider: inputs → replies, ciphertexts held by the layer. */
  evaluate(inputs: readonly CipherText[]): readonly CipherText[];
  /** Client: y, m numbers; includes the product with a public B′ where the provider only computes A·x. */
  decrypt(replies: readonly CipherText[]): Float64Array;
  /** The other end's copy of a message: seeded ciphertexts are expanded here. */
  receive(bytes: readonly Uint8Array[], into: readonly CipherText[]): void;
}

export function saveAll(
  seal: SEALLibrary,
  messages: readonly { saveArray(mode: SEALLibrary["ComprModeType"]["none"]): Uint8Array }[],
  compression: "none" | "zstd",
): Uint8Array[] {
  return messages.map((message) => message.saveArray(seal.ComprModeType[compression]));
}

export function totalBytes(messages: readonly Uint8Array[]): number {
  return messages.reduce((sum, bytes) => sum + bytes.length, 0);
}
