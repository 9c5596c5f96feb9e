// node-seal (Microsoft SEAL 4.1 compiled to wasm), as the peer of the layer bench.
import { createRequire } from "node:module";
import { basename } from "node:path";
import type { EncryptionParameters } from "node-seal/implementation/encryption-parameters.js";
import type { SEALLibrary } from "node-seal/implementation/seal.js";
import type { Vector } from "node-seal/implementation/vector.js";

export type { CipherText } from "node-seal/implementation/cipher-text.js";
export type { PlainText } from "node-seal/implementation/plain-text.js";
export type { SEALLibrary } from "node-seal/implementation/seal.js";
export type { Serializable } from "node-seal/implementation/serializable.js";

export interface LoadedSeal {
  readonly seal: SEALLibrary;
  /** Which of node-seal's builds this is; none of them has threads. */
  readonly build: string;
}

export async function loadSeal(): Promise<LoadedSeal> {
  const require = createRequire(import.meta.url);
  // The package's types describe its ES build; Node loads the UMD build, whose module *is* the function.
  const load = require("node-seal") as () => Promise<SEALLibrary>;
  const { version } = require("node-seal/package.json") as { version: string };
  const file = basename(require.resolve("node-seal"));
  const seal = await load();
  return { seal, build: `node-seal ${version}, ${file} (wasm, one thread)` };
}

/** A context, the client's keys and both sides' tools; SEAL itself refuses parameters below 128 bits. */
export function makeContext(
  seal: SEALLibrary,
  scheme: "ckks" | "bfv",
  degree: number,
  limbBits: readonly number[],
  configure: (parameters: EncryptionParameters) => void = () => {},
) {
  const parameters = seal.EncryptionParameters(seal.SchemeType[scheme]);
  parameters.setPolyModulusDegree(degree);
  parameters.setCoeffModulus(createLimbs(seal, degree, limbBits));
  configure(parameters);
  const context = seal.Context(parameters, true, seal.SecurityLevel.tc128);
  if (!context.parametersSet()) throw new Error("SEAL refuses these parameters at 128 bits");
  const keyGenerator = seal.KeyGenerator(context);
  const secretKey = keyGenerator.secretKey();
  const encryptor = seal.Encryptor(context, keyGenerator.createPublicKey(), secretKey);
  const decryptor = seal.Decryptor(context, secretKey);
  return { context, keyGenerator, encryptor, decryptor, evaluator: seal.Evaluator(context) };
}

function createLimbs(seal: SEALLibrary, degree: number, limbBits: readonly number[]): Vector {
  return seal.CoeffModulus.Create(degree, Int32Array.from(limbBits));
}
