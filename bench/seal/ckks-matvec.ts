// Plaintext matrix × encrypted vector in CKKS slots: the hybrid diagonal method (Gazelle, USENIX Security 2018, §4)
// with baby steps and giant steps (Halevi–Shoup 2018). Weights are encoded once, in NTT form.
import type { CKKSEncoder } from "node-seal/implementation/ckks-encoder.js";
import type { Evaluator } from "node-seal/implementation/evaluator.js";
import type { GaloisKeys } from "node-seal/implementation/galois-keys.js";
import type { CipherText, PlainText, SEALLibrary } from "./load-seal.ts";

export interface CkksTools {
  readonly seal: SEALLibrary;
  readonly evaluator: Evaluator;
  readonly encoder: CKKSEncoder;
  readonly galoisKeys: GaloisKeys;
  readonly slots: number;
}

/** A sum over diagonals d = babies·g + b: out = Σ_g rot(Σ_b,i P[g][b][i] ⊙ rot(input_i, b), babies·g). */
export interface DiagonalProduct {
  readonly babies: number;
  readonly giants: number;
  /** plain[g][b][i], i over the input ciphertexts; already rotated by −babies·g. */
  readonly plain: readonly (readonly (readonly PlainText[])[])[];
}

/**
 * Encodes the diagonals: entry(d, i, j) is the weight that meets slot j of rot(input_i, d).
 * levelsDown: how many limbs the ciphertexts have lost when they reach this product.
 */
export function encodeDiagonals(
  tools: CkksTools,
  shape: { diagonals: number; babies: number; inputs: number; scale: number; levelsDown: number },
  entry: (diagonal: number, input: number, slot: number) => number,
): DiagonalProduct {
  const { encoder, evaluator, slots } = tools;
  const giants = shape.diagonals / shape.babies;
  const encode = (giant: number, baby: number, input: number) => {
    const shift = giant * shape.babies;
    const values = new Float64Array(slots);
    for (let j = 0; j < slots; j++) values[(j + shift) % slots] = entry(shift + baby, input, j);
    const plain = encoder.encode(values, shape.scale) as PlainText;
    for (let level = 0; level < shape.levelsDown; level++) evaluator.plainModSwitchToNext(plain, plain);
    return plain;
  };
  const plain = range(giants).map((g) =>
    range(shape.babies).map((b) => range(shape.inputs).map((i) => encode(g, b, i))),
  );
  return { babies: shape.babies, giants, plain };
}

/** The baby steps: rotated[b][i] = rot(input_i, b); rotated[0] are the inputs themselves. */
export function rotateBabies(
  { evaluator, galoisKeys }: CkksTools,
  inputs: readonly CipherText[],
  rotated: readonly (readonly CipherText[])[],
): (readonly CipherText[])[] {
  // SEAL decomposes the ciphertext again for every rotation: it has no public hoisting.
  rotated.forEach((row, index) => {
    for (let i = 0; i < row.length; i++) evaluator.rotateVector(inputs[i], index + 1, galoisKeys, row[i]);
  });
  return [inputs, ...rotated];
}

/** out = the product's sum; giant steps in Horner form, so that one rotation amount serves all of them. */
export function multiplyDiagonals(
  { evaluator, galoisKeys }: CkksTools,
  product: DiagonalProduct,
  rotated: readonly (readonly CipherText[])[],
  out: CipherText,
  term: CipherText,
): void {
  for (let g = product.giants - 1; g >= 0; g--) {
    const first = g === product.giants - 1;
    if (!first) evaluator.rotateVector(out, product.babies, galoisKeys, out);
    product.plain[g].forEach((row, b) => {
      row.forEach((plain, i) => {
        if (first && b === 0 && i === 0) {
          evaluator.multiplyPlain(rotated[b][i], plain, out);
        } else {
          evaluator.multiplyPlain(rotated[b][i], plain, term);
          evaluator.add(out, term, out);
        }
      });
    });
  }
}

/** acc[j] ← Σ_k acc[j + k·step], for every multiple of step below slots: log2(slots/step) rotations. */
export function fold(
  { evaluator, galoisKeys }: CkksTools,
  steps: readonly number[],
  acc: CipherText,
  term: CipherText,
): void {
  for (const step of steps) {
    evaluator.rotateVector(acc, step, galoisKeys, term);
    evaluator.add(acc, term, acc);
  }
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
