// SEAL's best chance: A·x by coefficient packing in BFV (Cheetah, USENIX Security 2022, §3), no rotations.
import { multiply, type RandomLayer } from "../random-layer.ts";
import { range } from "./ckks-matvec.ts";
import { makeCoefficientCodec } from "./coefficient-codec.ts";
import { type CipherText, makeContext, type PlainText, type SEALLibrary } from "./load-seal.ts";
import type { SealLayer } from "./seal-layer.ts";

/** Smallest degree whose 54 bits at 128-bit security hold one product. */
const DEGREE = 2048;
/** Fixed-point scales: u has standard deviation 2^22 at n = 4096, 8 of which fit in ±t/2. */
const X_SCALE = 2 ** 8;
const A_SCALE = 2 ** 8;
const PLAIN_BITS = 26;

/**
 * u_i = Σ_j A[i,j]·x[j], split in blocks of `block` columns: coefficient (k+1)·block − 1 of
 * x_b(X) · Σ_k X^{k·block} · reverse(A[row k, block b]) is the inner product of row k with block b.
 */
export function makeCoefficientLayer(seal: SEALLibrary, layer: RandomLayer): SealLayer {
  const { n, r, m, A, B } = layer;
  // 4 inputs × 4 replies of 2 rows each: the least client work for n = 4096, r = 8 (encryptions ≈ decryptions).
  const block = DEGREE / 2;
  const rowsPerReply = DEGREE / block;
  const inputs = Math.ceil(n / block);
  const outputs = Math.ceil(r / rowsPerReply);
  const { context, encryptor, decryptor, evaluator } = makeContext(
    seal,
    "bfv",
    DEGREE,
    [54],
    (parameters) => {
      parameters.setPlainModulus(seal.PlainModulus.Batching(DEGREE, PLAIN_BITS));
    },
  );
  const t = Number(seal.PlainModulus.Batching(DEGREE, PLAIN_BITS).value);
  const isInnerProduct = (index: number) => index % block === block - 1;
  const codec = makeCoefficientCodec(seal, context, t);
  const parmsId = context.firstParmsId;

  const weights = range(outputs).map((o) => range(inputs).map((b) => encodeWeights(o, b)));
  const term = seal.CipherText();
  const transformed = range(inputs).map(() => seal.CipherText());
  const replies = range(outputs).map(() => seal.CipherText());
  const plain = seal.PlainText();
  const coefficients = new Float64Array(block);
  // Every coefficient but the inner products is a partial sum over weights: it must not leave. A provider draws
  // fresh masks for each query; they do not depend on it, so drawing them is left out of the time.
  const masks = range(outputs).map(() => {
    const mask = seal.PlainText();
    codec.write(randomMask(t, isInnerProduct), mask);
    return mask;
  });

  function encodeWeights(output: number, b: number): PlainText {
    const values = new Float64Array(DEGREE);
    for (let k = 0; k < rowsPerReply; k++) {
      const row = output * rowsPerReply + k;
      for (let j = 0; j < block && row < r && b * block + j < n; j++) {
        values[k * block + block - 1 - j] = Math.round(A_SCALE * A[row * n + b * block + j]);
      }
    }
    const encoded = seal.PlainText();
    codec.write(values, encoded);
    evaluator.plainTransformToNtt(encoded, parmsId, encoded);
    return encoded;
  }

  return {
    name: "BFV coefficient packing, Ax only (B′ public)",
    parameters: `BFV, N = ${DEGREE}, limb 54 bits, t ≈ 2^${PLAIN_BITS}`,
    operations: `0 rotations, ${inputs * outputs} plaintext products, ${inputs + outputs} ciphertext transforms`,
    keyBytes: 0,
    encrypt(x) {
      return range(inputs).map((b) => {
        coefficients.fill(0);
        for (let j = 0; j < block && b * block + j < n; j++) {
          coefficients[j] = Math.round(X_SCALE * x[b * block + j]);
        }
        codec.write(coefficients, plain);
        return encryptor.encryptSymmetricSerializable(plain);
      });
    },
    evaluate(x) {
      x.forEach((input, b) => {
        evaluator.cipherTransformToNtt(input, transformed[b]);
      });
      replies.forEach((reply, o) => {
        transformed.forEach((input, b) => {
          if (b === 0) {
            evaluator.multiplyPlain(input, weights[o][b], reply);
            return;
          }
          evaluator.multiplyPlain(input, weights[o][b], term);
          evaluator.add(reply, term, reply);
        });
        evaluator.cipherTransformFromNtt(reply, reply);
        evaluator.addPlain(reply, masks[o], reply);
      });
      return replies;
    },
    decrypt(answers: readonly CipherText[]) {
      const u = new Float64Array(r);
      answers.forEach((answer, o) => {
        decryptor.decrypt(answer, plain);
        const values = codec.read(plain);
        for (let k = 0; k < rowsPerReply && o * rowsPerReply + k < r; k++) {
          u[o * rowsPerReply + k] = values[k * block + block - 1] / (X_SCALE * A_SCALE);
        }
      });
      return multiply(B, u, m);
    },
    receive(bytes, into) {
      bytes.forEach((message, i) => {
        into[i].loadArray(context, message);
      });
    },
  };
}

/** Uniform in [−t/2, t/2), but 0 where the reply keeps its value. */
function randomMask(t: number, keep: (index: number) => boolean): Float64Array {
  const words = crypto.getRandomValues(new Uint32Array(2 * DEGREE));
  return Float64Array.from({ length: DEGREE }, (_, i) => {
    const uniform = (words[2 * i] * 2 ** 21 + (words[2 * i + 1] >>> 11)) / 2 ** 53;
    return keep(i) ? 0 : Math.floor(uniform * t) - Math.floor(t / 2);
  });
}
